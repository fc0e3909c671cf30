"""Part `traffic`: what a TCP connection between two pods carries, alternating over all ways to wire them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

import hatch_build
from bench import ways
from bench.report import Target
from bench.ways import Way

SOURCE = Path(__file__).parent / "traffic.c"
LEG_SECONDS = 0.5
FREE, APART, TOGETHER = "free", "0,1", "0,0"
"""Where the two ends run. Of a stream, where the scheduler likes. Of exchanges, on a processor each, as pods usually
are; and once more on one processor, where no wake-up of another one hides what the path costs."""

PAUSE_SECONDS = 0.05
VETH_SHARE = 0.85


@dataclass
class Carried:
    """Every leg of one way: Gbit/s of a stream; exchanges a second, and the percentiles of one (microseconds);
    exchanges a second where both ends are on one processor."""

    gigabits: list[float] = field(default_factory=list)
    exchanges: list[float] = field(default_factory=list)
    exchanges_together: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrafficResults:
    """What the part measured, for the report: by the way's name."""

    carried: Mapping[str, Carried]

    def _ratio(self, over: str, under: str, series: str) -> float:
        """The median of the ratios of neighbouring legs: what disturbs a round disturbs both."""
        over_legs: list[float] = getattr(self.carried[over], series)
        under_legs: list[float] = getattr(self.carried[under], series)
        return statistics.median(above / below for above, below in zip(over_legs, under_legs, strict=True))

    def targets(self) -> list[Target]:
        """The promised figures."""
        found = []
        for where, routed, bridge in (
            ("one node", ways.ROUTED, ways.REFERENCE),
            ("one node, masquerade", ways.ROUTED_MASQUERADE, ways.REFERENCE_MASQUERADE),
            ("two nodes", ways.ROUTED_DIRECT, ways.REFERENCE_ROUTES),
        ):
            for word, series in (("stream", "gigabits"), ("exchanges", "exchanges")):
                found.append(Target(f"{where}, {word}: routed / bridge", self._ratio(routed, bridge, series), 1.0))
        for word, series, bound in (
            ("exchanges", "exchanges", VETH_SHARE),
            ("exchanges on one processor", "exchanges_together", None),
        ):
            found.append(Target(f"{word}: routed / veth pair", self._ratio(ways.ROUTED, ways.VETH, series), bound))
        return found

    def tables(self) -> list[Table]:
        """For people."""
        table = Table(title="TCP between two pods: medians; a stream, and one byte there and back")
        table.add_column("way")
        for title in ("Gbit/s", "of veth", "exchanges/s", "of veth", "p50 µs", "p99 µs", "on one CPU", "of veth"):
            table.add_column(title, justify="right")
        for name, carried in self.carried.items():
            table.add_row(
                name,
                f"{statistics.median(carried.gigabits):.1f}",
                f"{self._ratio(name, ways.VETH, 'gigabits'):.0%}",
                f"{statistics.median(carried.exchanges):,.0f}",
                f"{self._ratio(name, ways.VETH, 'exchanges'):.0%}",
                f"{statistics.median(carried.p50_us):.1f}",
                f"{statistics.median(carried.p99_us):.1f}",
                f"{statistics.median(carried.exchanges_together):,.0f}",
                f"{self._ratio(name, ways.VETH, 'exchanges_together'):.0%}",
            )
        return [table]

    def document(self) -> dict[str, Any]:
        """For the JSON."""
        return {name: asdict(carried) for name, carried in self.carried.items()}


def _leg(program: Path, kind: str, way: Way, place: str) -> dict[str, float]:
    """One run of the generator; raises CalledProcessError."""
    argv = [str(program), kind, way.client, way.server, way.address, str(LEG_SECONDS), place]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _round(program: Path, found: Sequence[Way], results: Mapping[str, Carried]) -> None:
    for way in found:
        streamed = _leg(program, "stream", way, FREE)
        results[way.name].gigabits.append(streamed["bytes"] * 8 / streamed["seconds"] / 1e9)
        time.sleep(PAUSE_SECONDS)
    for way in found:
        exchanged = _leg(program, "exchange", way, APART if len(os.sched_getaffinity(0)) > 1 else TOGETHER)
        results[way.name].exchanges.append(exchanged["count"] / exchanged["seconds"])
        results[way.name].p50_us.append(exchanged["p50_us"])
        results[way.name].p99_us.append(exchanged["p99_us"])
        time.sleep(PAUSE_SECONDS)
    for way in found:
        exchanged = _leg(program, "exchange", way, TOGETHER)
        results[way.name].exchanges_together.append(exchanged["count"] / exchanged["seconds"])
        time.sleep(PAUSE_SECONDS)


def run(rounds: int, reference: Path, bin_dir: Path, folder: Path) -> TrafficResults:
    """Wire all ways, then `rounds` times: a leg of each kind over each of them, in an order that turns."""
    program = folder / "traffic"
    hatch_build.compile_static([SOURCE], program)
    with ExitStack() as stack:
        found = ways.all_ways(stack, reference, bin_dir, folder)
        discarded = {way.name: Carried() for way in found}
        _round(program, found, discarded)
        results = {way.name: Carried() for way in found}
        for number in range(rounds):
            at = number * len(found) // rounds
            _round(program, [*found[at:], *found[:at]], results)
    return TrafficResults(results)
