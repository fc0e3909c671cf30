"""The results as tables for people, targets beside them, and as JSON for comparing runs."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measures import FullNode, Samples, Shares, percentile

RESULTS = Path(__file__).parent / "results"
SERIES = {
    "add": "ADD",
    "delete": "DEL",
    "add_burst_wall": "ADD burst, all",
    "add_burst_each": "each of it",
    "del_burst_wall": "DEL burst, all",
}
BUSY_LOAD = 0.7
POD = "podwire"
FLOOR = "floor"
BRIDGE = "bridge"
ONESHOT = "podwire-oneshot"


@dataclass(frozen=True)
class Results:
    """Everything that one run measured."""

    setting: Mapping[str, Any]
    samples: Mapping[str, Samples]
    full: FullNode | None
    shares: Shares | None


@dataclass(frozen=True)
class Target:
    """A figure that should be at most, or at least, what was promised."""

    name: str
    value: float | None
    bound: float
    at_most: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """None where it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def _median(results: Results, plugin: str, series: str) -> float | None:
    samples = results.samples.get(plugin)
    values = getattr(samples, series) if samples else []
    return statistics.median(values) if values else None


def _ratio(results: Results, over: str, under: str, series: str) -> float | None:
    above, below = _median(results, over, series), _median(results, under, series)
    return above / below if above and below else None


def targets(results: Results) -> list[Target]:
    """The promised figures, in the order in which they were promised."""
    full = results.full
    return [
        Target("ADD p50: podwire / floor", _ratio(results, POD, FLOOR, "add"), 1.5, at_most=True),
        Target("ADD p50: bridge / podwire", _ratio(results, BRIDGE, POD, "add"), 5.5),
        Target("100 ADDs: podwire / floor", _ratio(results, POD, FLOOR, "add_burst_wall"), 1.0, at_most=True),
        Target("100 ADDs: bridge / podwire", _ratio(results, BRIDGE, POD, "add_burst_wall"), 7.0),
        Target("DEL p50: bridge / podwire", _ratio(results, BRIDGE, POD, "delete"), 8.0),
        Target("100 DELs: bridge / podwire", _ratio(results, BRIDGE, POD, "del_burst_wall"), 5.0),
        Target(
            f"ADD p50: {full.pods if full else 'many'} pods / none",
            full.add_full / full.add_empty if full else None,
            1.3,
            at_most=True,
        ),
        Target(
            f"agent, {full.pods if full else 'many'} pods",
            full.resident_mib_full if full else None,
            30.0,
            at_most=True,
            unit=" MiB",
        ),
        Target("one-shot ADD p50 / bridge", _ratio(results, ONESHOT, BRIDGE, "add"), 4.0, at_most=True),
    ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _times_table(results: Results) -> Table:
    table = Table(title="milliseconds, p50 (p99); a burst goes 8 at a time")
    table.add_column("plug-in")
    for title in SERIES.values():
        table.add_column(title, justify="right")
    for name, samples in results.samples.items():
        cells = []
        for series in SERIES:
            values = getattr(samples, series)
            cell = _milliseconds(statistics.median(values)) if values else "-"
            if values and not series.endswith("_wall"):
                cell += f" ({_milliseconds(percentile(values, 99))})"
            cells.append(cell)
        table.add_row(name, *cells)
    return table


def _targets_table(results: Results) -> Table:
    table = Table(title="against the targets")
    for title in ("figure", "measured", "target", ""):
        table.add_column(title, justify="left" if title == "figure" else "right")
    for target in targets(results):
        measured = "-" if target.value is None else f"{target.value:.2f}{target.unit}"
        verdict = {None: "not measured", True: "[green]met[/]", False: "[red]missed[/]"}[target.met]
        sign = "≤" if target.at_most else "≥"
        table.add_row(target.name, measured, f"{sign} {target.bound:g}{target.unit}", verdict)
    return table


def _shares_table(shares: Shares) -> Table:
    table = Table(title="where a routed ADD's time goes (p50)")
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("%", justify="right")
    parts = {
        "exec (the shim alone)": shares.exec,
        "socket (a VERSION, less exec)": shares.socket,
        "kernel (inside netlink calls)": shares.kernel,
        "Python": shares.whole - shares.exec - shares.socket - shares.kernel,
    }
    for name, seconds in parts.items():
        table.add_row(name, _milliseconds(seconds), f"{seconds / shares.whole:.0%}")
    table.add_row("all", _milliseconds(shares.whole), "100%")
    return table


def show(results: Results) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 110)
    load = results.setting.get("load_before", 0.0)
    if load > BUSY_LOAD:
        console.print(f"[yellow]The machine was busy when this began (load {load:.1f}): do not trust the figures.[/]")
    console.print(_times_table(results))
    if results.shares:
        console.print(_shares_table(results.shares))
    if results.full:
        full = results.full
        console.print(f"agent: {full.resident_mib_empty:.1f} MiB resident with no pod before any ADD of this stage")
    console.print(_targets_table(results))


def keep(results: Results) -> Path:
    """Write everything, each sample in microseconds, to bench/results/UTC.json; the path."""
    document = {
        "setting": dict(results.setting),
        "samples_us": {
            name: {series: [round(each * 1e6) for each in values] for series, values in asdict(samples).items()}
            for name, samples in results.samples.items()
        },
        "full_node": asdict(results.full) if results.full else None,
        "shares": asdict(results.shares) if results.shares else None,
        "targets": [{**asdict(target), "met": target.met} for target in targets(results)],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
