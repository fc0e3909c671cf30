# SPDX-License-Identifier: Apache-2.0
"""Prints a report as tables (rich): a matrix of sources and targets, then the failures with their causes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from podwire.diagnose.plan import METHODS, Outcome
from podwire.diagnose.report import Failure, Report
from podwire.record import Record

GOOD, BAD, NOTHING = "✓", "✗", "·"
MARKS = {"ping": "p", "tcp": "t", "udp": "u", "mtu": "m"}
SOURCE_MARK = "s"
WORDS = "p ping, t TCP, u UDP, m full-size packets, s source address"
MAX_CAUSES = 20
MAX_COLUMNS = 24
MAX_ROWS = 40
BETWEEN_COLUMNS = 2


class Column(Record):
    """A column: an endpoint, or all pods of a node if there are many."""

    title: str
    targets: frozenset[str]


def show(report: Report, console: Console) -> None:
    """Print the matrix, the failures (each cause once) and a summary line."""
    table, notes = _matrix(report, console.width)
    console.print(table)
    for note in notes:
        console.print(Text(note, style="dim"))
    if not report.ok:
        console.print(Text(f"{BAD} fails: {WORDS}", style="dim"))
    pods = [endpoint for endpoint in report.endpoints if endpoint.kind == "pod"]
    if no_namespace := [pod.name for pod in pods if not pod.netns]:
        console.print(f"not checked from: {', '.join(no_namespace)} (their namespaces were not found)", highlight=False)
    causes: dict[object, list[Failure]] = {}
    for failure in report.failures:
        causes.setdefault((failure.hop, failure.at, _stem(failure)), []).append(failure)
    for same in list(causes.values())[:MAX_CAUSES]:
        _show_cause(same, console)
    if len(causes) > MAX_CAUSES:
        console.print(f"\n… and {len(causes) - MAX_CAUSES} more causes: see them with -o json")
    failed = sum(outcome.failed for outcome in report.outcomes)
    took = f"{len(report.outcomes)} probes in {report.seconds:.1f} s"
    if failed:
        console.print(Text(f"\n{BAD} {failed} of {took} failed", style="bold red"))
    else:
        console.print(Text(f"{GOOD} all of {took} passed", style="bold green"))


def _stem(failure: Failure) -> str:
    """The cause without addresses and names: causes that differ only in them are shown together."""
    return failure.cause.replace(failure.address, "").replace(failure.source, "").replace(failure.target, "")


def _columns(report: Report) -> list[Column]:
    called = {outcome.probe.target for outcome in report.outcomes}
    targets = [endpoint for endpoint in report.endpoints if endpoint.name in called]
    single = [target for target in targets if target.kind != "pod" or len(targets) <= MAX_COLUMNS]
    by_node: dict[str, set[str]] = {}
    for pod in targets if len(targets) > MAX_COLUMNS else ():
        if pod.kind == "pod":
            by_node.setdefault(pod.node, set()).add(pod.name)
    columns = [Column(target.name, frozenset([target.name])) for target in single]
    return columns + [Column(f"pods of {node}", frozenset(names)) for node, names in by_node.items()]


def _matrix(report: Report, width: int) -> tuple[Table, list[str]]:
    """The table and the notes below it."""
    columns = _columns(report)
    families = sorted({outcome.probe.family for outcome in report.outcomes})
    by_source: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_source.setdefault(outcome.probe.source, []).append(outcome)
    nodes = {endpoint.name: endpoint.node for endpoint in report.endpoints}
    rows, hidden = _rows(by_source)
    labels = {name: f"{name} ({nodes[name]})" for name in rows}
    widths = [max(len(column.title), 8 if len(families) > 1 else 3) + BETWEEN_COLUMNS for column in columns]
    named = sum(widths) + max(map(len, labels.values()), default=0) <= width
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("from", no_wrap=True)
    for number, column in enumerate(columns, 1):
        table.add_column(column.title if named else str(number), no_wrap=True)
    for name in rows:
        table.add_row(Text(labels[name]), *(_cell(_of(by_source[name], column, families)) for column in columns))
    notes = [] if named else ["  ".join(f"{number} {column.title}" for number, column in enumerate(columns, 1))]
    notes += [f"… and {hidden} more pods whose probes all passed"] if hidden else []
    return table, notes


def _rows(by_source: Mapping[str, Sequence[Outcome]]) -> tuple[list[str], int]:
    """The rows to show, and the number of hidden rows. If there are too many, rows with failures come first."""
    if len(by_source) <= MAX_ROWS:
        return list(by_source), 0
    bad = [name for name, outcomes in by_source.items() if any(outcome.failed for outcome in outcomes)]
    passed = [name for name in by_source if name not in set(bad)]
    shown = passed[: max(MAX_ROWS - len(bad), 0)]
    return bad + shown, len(passed) - len(shown)


def _of(outcomes: Sequence[Outcome], column: Column, families: Sequence[int]) -> list[tuple[int, list[Outcome]]]:
    own = [outcome for outcome in outcomes if outcome.probe.target in column.targets]
    return [(family, [outcome for outcome in own if outcome.probe.family == family]) for family in families]


def _cell(by_family: Sequence[tuple[int, Sequence[Outcome]]]) -> Text:
    """`✓`, or `4✓ 6✗pu`; a dot if there was no probe, as from a pod to itself."""
    if not any(outcomes for _, outcomes in by_family):
        return Text(NOTHING, style="dim")
    cell = Text()
    for number, (family, outcomes) in enumerate(by_family):
        cell.append(" " if number else "")
        cell.append(str(family) if len(by_family) > 1 else "", style="dim")
        failed = [outcome for outcome in outcomes if outcome.failed]
        if failed:
            cell.append(BAD + _letters(failed), style="bold red")
        else:
            cell.append(GOOD if outcomes else NOTHING, style="green" if outcomes else "dim")
    return cell


def _letters(failed: Sequence[Outcome]) -> str:
    methods = {outcome.probe.method for outcome in failed if outcome.status != "source"}
    letters = "".join(MARKS[method] for method in METHODS if method in methods)
    return letters + (SOURCE_MARK if any(outcome.status == "source" for outcome in failed) else "")


def _show_cause(same: Sequence[Failure], console: Console) -> None:
    first = same[0]
    console.print()
    console.print(Text(f"{BAD} {first.headline}", style="bold"), soft_wrap=True)
    if len(same) > 1:
        console.print(f"  and {len(same) - 1} more failures with this cause", highlight=False)
    lines = {"cause" if first.sure else "likely cause": first.cause, "see": " ".join(first.command)}
    for word, text in {**lines, "next": first.advice, "seen last": first.last}.items():
        if text:
            line = Text(f"  {word}: ", style="dim")
            line.append(text, style="not dim")
            console.print(line, soft_wrap=True)
