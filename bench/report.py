# SPDX-License-Identifier: Apache-2.0
"""The results of all parts: tables with the targets, and JSON to compare runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
BUSY_LOAD = 0.7


@dataclass(frozen=True)
class Target:
    """A figure with an upper or lower bound; without a bound, it is shown for comparison."""

    name: str
    value: float | None
    bound: float | None
    at_most: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        """None if it was not measured or has no bound."""
        if self.value is None or self.bound is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound


class Part(Protocol):
    """What one part of the benchmark measured."""

    def targets(self) -> list[Target]:
        """The figures with their bounds."""

    def tables(self) -> list[Table]:
        """The tables that are printed."""

    def document(self) -> Any:
        """The content of the JSON."""


def milliseconds(seconds: float) -> str:
    """With two places below a second, without above."""
    return f"{seconds * 1e3:.2f}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def _targets_table(targets: list[Target]) -> Table:
    table = Table(title="against the targets")
    for title in ("figure", "measured", "target", ""):
        table.add_column(title, justify="left" if title == "figure" else "right")
    for target in targets:
        measured = "-" if target.value is None else f"{target.value:.2f}{target.unit}"
        if target.bound is None:
            table.add_row(target.name, measured, "", "")
            continue
        verdict = {None: "not measured", True: "[green]met[/]", False: "[red]missed[/]"}[target.met]
        sign = "≤" if target.at_most else "≥"
        table.add_row(target.name, measured, f"{sign} {target.bound:g}{target.unit}", verdict)
    return table


def show(setting: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    load = setting.get("load_before", 0.0)
    if load > BUSY_LOAD:
        console.print(f"[yellow]The machine was busy when this began (load {load:.1f}): do not trust the figures.[/]")
    for part in parts.values():
        for table in part.tables():
            console.print(table)
    console.print(_targets_table([target for part in parts.values() for target in part.targets()]))


def keep(setting: Mapping[str, Any], parts: Mapping[str, Part]) -> Path:
    """Write everything to bench/results/UTC.json; the path."""
    document = {
        "setting": dict(setting),
        **{name: part.document() for name, part in parts.items()},
        "targets": [{**asdict(target), "met": target.met} for part in parts.values() for target in part.targets()],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path
