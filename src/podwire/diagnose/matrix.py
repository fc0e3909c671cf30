"""A report for people: a matrix of who reaches whom, then what fails and why (rich)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from podwire.diagnose.plan import METHODS, Outcome
from podwire.diagnose.report import Failure, Report

GOOD, BAD, NOTHING = "✓", "✗", "·"
MARKS = {"ping": "p", "tcp": "t", "udp": "u", "mtu": "m"}
SOURCE_MARK = "s"
WORDS = "p ping, t TCP, u UDP, m full-size packets, s source address"
MOST_SHOWN = 20
MOST_COLUMNS = 24
MOST_ROWS = 40
BETWEEN_COLUMNS = 2


class Column(Struct, frozen=True):
    """A column: one endpoint, or all pods of a node where there are many."""

    title: str
    targets: frozenset[str]


def show(report: Report, console: Console) -> None:
    """Print the matrix, the failures (each cause once), and one line that sums it up."""
    table, notes = _matrix(report, console.width)
    console.print(table)
    for note in notes:
        console.print(Text(note, style="dim"))
    if not report.ok:
        console.print(Text(f"{BAD} fails: {WORDS}", style="dim"))
    if blind := [one.name for one in report.endpoints if one.kind == "pod" and not one.netns]:
        console.print(f"not checked from: {', '.join(blind)} (no namespace of theirs was found)", highlight=False)
    causes: dict[object, list[Failure]] = {}
    for one in report.failures:
        causes.setdefault((one.hop, one.at, _stem(one)), []).append(one)
    for same in list(causes.values())[:MOST_SHOWN]:
        _show_cause(same, console)
    if len(causes) > MOST_SHOWN:
        console.print(f"\n… and {len(causes) - MOST_SHOWN} more causes: see them with -o json")
    failed = sum(one.failed for one in report.outcomes)
    took = f"{len(report.outcomes)} probes in {report.seconds:.1f} s"
    if failed:
        console.print(Text(f"\n{BAD} {failed} of {took} failed", style="bold red"))
    else:
        console.print(Text(f"{GOOD} all of {took} passed", style="bold green"))


def _stem(failure: Failure) -> str:
    """Causes that differ only in the addresses they name are one for people."""
    return failure.cause.replace(failure.address, "").replace(failure.source, "").replace(failure.target, "")


def _columns(report: Report) -> list[Column]:
    called = {one.probe.target for one in report.outcomes}
    targets = [one for one in report.endpoints if one.name in called]
    if len(targets) <= MOST_COLUMNS:
        return [Column(one.name, frozenset([one.name])) for one in targets]
    single = [Column(one.name, frozenset([one.name])) for one in targets if one.kind != "pod"]
    nodes = dict.fromkeys(one.node for one in targets if one.kind == "pod")
    return single + [
        Column(f"pods of {node}", frozenset(one.name for one in targets if one.kind == "pod" and one.node == node))
        for node in nodes
    ]


def _matrix(report: Report, width: int) -> tuple[Table, list[str]]:
    """The table, and what has to be said below it."""
    columns = _columns(report)
    families = sorted({one.probe.family for one in report.outcomes})
    by_source: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_source.setdefault(outcome.probe.source, []).append(outcome)
    nodes = {one.name: one.node for one in report.endpoints}
    rows, quiet = _rows(by_source)
    labels = {name: f"{name} ({nodes[name]})" for name in rows}
    widths = [max(len(one.title), 8 if len(families) > 1 else 3) + BETWEEN_COLUMNS for one in columns]
    named = sum(widths) + max(map(len, labels.values()), default=0) <= width
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("from", no_wrap=True)
    for number, one in enumerate(columns, 1):
        table.add_column(one.title if named else str(number), no_wrap=True)
    for name in rows:
        table.add_row(Text(labels[name]), *(_cell(_of(by_source[name], one, families)) for one in columns))
    notes = [] if named else ["  ".join(f"{number} {one.title}" for number, one in enumerate(columns, 1))]
    notes += [f"… and {quiet} more pods that reach all that they called"] if quiet else []
    return table, notes


def _rows(by_source: Mapping[str, Sequence[Outcome]]) -> tuple[list[str], int]:
    """The rows to show, those with failures first where there are too many; and how many sound ones are left out."""
    if len(by_source) <= MOST_ROWS:
        return list(by_source), 0
    bad = [name for name, outcomes in by_source.items() if any(one.failed for one in outcomes)]
    sound = [name for name in by_source if name not in set(bad)]
    shown = sound[: max(MOST_ROWS - len(bad), 0)]
    return bad + shown, len(sound) - len(shown)


def _of(outcomes: Sequence[Outcome], column: Column, families: Sequence[int]) -> list[tuple[int, list[Outcome]]]:
    own = [one for one in outcomes if one.probe.target in column.targets]
    return [(family, [one for one in own if one.probe.family == family]) for family in families]


def _cell(by_family: Sequence[tuple[int, Sequence[Outcome]]]) -> Text:
    """`✓`, or `4✓ 6✗pu`; a dot for what was not asked, as a pod itself."""
    if not any(outcomes for _, outcomes in by_family):
        return Text(NOTHING, style="dim")
    cell = Text()
    for number, (family, outcomes) in enumerate(by_family):
        cell.append(" " if number else "")
        cell.append(str(family) if len(by_family) > 1 else "", style="dim")
        failed = [one for one in outcomes if one.failed]
        if failed:
            cell.append(BAD + _letters(failed), style="bold red")
        else:
            cell.append(GOOD if outcomes else NOTHING, style="green" if outcomes else "dim")
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
    lines += [("seen last", first.last)] if first.last else []
    for word, text in lines:
        line = Text(f"  {word}: ", style="dim")
        line.append(text, style="not dim")
        console.print(line, soft_wrap=True)
