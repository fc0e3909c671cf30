"""A report for people: a matrix of who reaches whom, then what fails and why (rich)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from podwire.check.endpoints import Endpoint
from podwire.check.probes import METHODS, Outcome
from podwire.check.report import Failure, Report

GOOD, BAD, NOTHING = "✓", "✗", "·"
MARKS = {"ping": "p", "tcp": "t", "udp": "u", "mtu": "m"}
SOURCE_MARK = "s"
CELL_LETTERS = 3
WORDS = "p ping, t TCP, u UDP, m full-size packets, s source address"
MOST_SHOWN = 20


def show(report: Report, console: Console) -> None:
    """Print the matrix, the failures (each cause once), and one line that sums it up."""
    console.print(_matrix(report, console.width))
    if not report.ok:
        console.print(Text(f"{BAD} fails: {WORDS}", style="dim"))
    causes: dict[object, list[Failure]] = {}
    for one in report.failures:
        causes.setdefault((one.hop, one.at, _stem(one)), []).append(one)
    for number, same in enumerate(causes.values()):
        if number == MOST_SHOWN:
            console.print(f"\n… and {len(causes) - MOST_SHOWN} more causes: see them with -o json")
            break
        _show_cause(same, console)
    failed = sum(one.failed for one in report.outcomes)
    took = f"{len(report.outcomes)} probes in {report.seconds:.1f} s"
    if failed:
        console.print(Text(f"\n{BAD} {failed} of {took} failed", style="bold red"))
    else:
        console.print(Text(f"{GOOD} all of {took} passed", style="bold green"))


def _stem(failure: Failure) -> str:
    """Causes that differ only in the addresses they name are one for people."""
    return failure.cause.replace(failure.address, "").replace(failure.source, "").replace(failure.target, "")


def _matrix(report: Report, width: int) -> Table:
    rows = list(dict.fromkeys(one.probe.source for one in report.outcomes))
    columns = [one for one in report.endpoints if any(each.probe.target == one.name for each in report.outcomes)]
    families = sorted({one.probe.family for one in report.outcomes})
    cells: dict[tuple[str, str, int], list[Outcome]] = {}
    for outcome in report.outcomes:
        probe = outcome.probe
        cells.setdefault((probe.source, probe.target, probe.family), []).append(outcome)
    places = {one.name: one for one in report.endpoints}
    named = sum(max(len(one.name), CELL_LETTERS) + 2 for one in columns) + max(map(len, rows), default=0) + 12 <= width
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("from", no_wrap=True)
    for number, one in enumerate(columns, 1):
        table.add_column(one.name if named else str(number), no_wrap=True)
    for name in rows:
        line: list[Text] = [Text(_label(places[name]))]
        for one in columns:
            line.append(
                _cell([(family, cells.get((name, one.name, family), [])) for family in families], name == one.name)
            )
        table.add_row(*line)
    if not named:
        table.caption = "  ".join(f"{number} {one.name}" for number, one in enumerate(columns, 1))
        table.caption_justify = "left"
    return table


def _label(endpoint: Endpoint) -> str:
    return f"{endpoint.name} ({endpoint.node})" if endpoint.node else endpoint.name


def _cell(by_family: Sequence[tuple[int, Sequence[Outcome]]], own: bool) -> Text:
    """`✓`, or `4✓ 6✗pu`; a dot for a pod itself and for what was not asked."""
    cell = Text()
    if own:
        return Text(NOTHING, style="dim")
    many = len(by_family) > 1
    for number, (family, outcomes) in enumerate(by_family):
        cell.append(" " if number else "")
        cell.append(str(family) if many else "", style="dim")
        failed = [one for one in outcomes if one.failed]
        if not outcomes:
            cell.append(NOTHING, style="dim")
        elif failed:
            cell.append(BAD + _letters(failed), style="bold red")
        else:
            cell.append(GOOD, style="green")
    return cell


def _letters(failed: Sequence[Outcome]) -> str:
    methods = {one.probe.method for one in failed if one.status != "source"}
    letters = "".join(MARKS[one] for one in METHODS if one in methods)
    return letters + (SOURCE_MARK if any(one.status == "source" for one in failed) else "")


def _show_cause(same: Sequence[Failure], console: Console) -> None:
    first = same[0]
    console.print()
    console.print(Text(f"{BAD} {first.headline}", style="bold"), soft_wrap=True)
    if len(same) > 1:
        console.print(f"  and {len(same) - 1} more of the same kind", highlight=False)
    lines = [("cause" if first.sure else "likely cause", first.cause)]
    lines += [("see", " ".join(first.command))] if first.command else []
    lines += [("next", first.advice)] if first.advice else []
    for word, text in lines:
        line = Text(f"  {word}: ", style="dim")
        line.append(text, style="not dim")
        console.print(line, soft_wrap=True)
    if first.last:
        console.print(Text(f"  seen last: {first.last}", style="dim"), soft_wrap=True)
