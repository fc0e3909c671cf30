# SPDX-License-Identifier: Apache-2.0
"""Part `traffic`: what a TCP connection between two pods carries, alternating over all topologies."""

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
from bench import topologies
from bench.report import Target
from bench.topologies import Topology

SOURCE = Path(__file__).parent / "traffic.c"
LEG_SECONDS = 0.5
FREE, APART, TOGETHER = "free", "0,1", "0,0"
"""Where the two ends run. Of a stream, where the scheduler likes. Of exchanges, on a processor each, as pods usually
are; and once more on one processor, where no wake-up of another one hides what the path costs."""

PAUSE_SECONDS = 0.05
VETH_SHARE = 0.85


@dataclass
class Carried:
    """The measurements of one topology: Gbit/s of a stream; exchanges per second and percentiles of one exchange
    (microseconds); exchanges per second with both ends on one processor."""

    gigabits: list[float] = field(default_factory=list)
    exchanges: list[float] = field(default_factory=list)
    exchanges_together: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrafficResults:
    """The results by the topology's name."""

    carried: Mapping[str, Carried]

    def _ratio(self, over: str, under: str, series: str) -> float:
        """The median of the ratios of measurements in the same round: a disturbance concerns both."""
        over_legs: list[float] = getattr(self.carried[over], series)
        under_legs: list[float] = getattr(self.carried[under], series)
        return statistics.median(above / below for above, below in zip(over_legs, under_legs, strict=True))

    def targets(self) -> list[Target]:
        """The promised figures."""
        found = []
        for where, routed, bridge in (
            ("one node", topologies.ROUTED, topologies.REFERENCE),
            ("one node, masquerade", topologies.ROUTED_MASQUERADE, topologies.REFERENCE_MASQUERADE),
            ("two nodes", topologies.ROUTED_DIRECT, topologies.REFERENCE_ROUTES),
        ):
            for word, series in (("stream", "gigabits"), ("exchanges", "exchanges")):
                found.append(Target(f"{where}, {word}: routed / bridge", self._ratio(routed, bridge, series), 1.0))
        for word, series, bound in (
            ("exchanges", "exchanges", VETH_SHARE),
            ("exchanges on one processor", "exchanges_together", None),
        ):
            found.append(
                Target(f"{word}: routed / veth pair", self._ratio(topologies.ROUTED, topologies.VETH, series), bound)
            )
        return found

    def tables(self) -> list[Table]:
        """For people."""
        table = Table(title="TCP between two pods: medians; a stream, and one byte there and back")
        table.add_column("topology")
        for title in ("Gbit/s", "of veth", "exchanges/s", "of veth", "p50 µs", "p99 µs", "on one CPU", "of veth"):
            table.add_column(title, justify="right")
        for name, carried in self.carried.items():
            table.add_row(
                name,
                f"{statistics.median(carried.gigabits):.1f}",
                f"{self._ratio(name, topologies.VETH, 'gigabits'):.0%}",
                f"{statistics.median(carried.exchanges):,.0f}",
                f"{self._ratio(name, topologies.VETH, 'exchanges'):.0%}",
                f"{statistics.median(carried.p50_us):.1f}",
                f"{statistics.median(carried.p99_us):.1f}",
                f"{statistics.median(carried.exchanges_together):,.0f}",
                f"{self._ratio(name, topologies.VETH, 'exchanges_together'):.0%}",
            )
        return [table]

    def document(self) -> dict[str, Any]:
        """For the JSON."""
        return {name: asdict(carried) for name, carried in self.carried.items()}


def _leg(program: Path, kind: str, topology: Topology, place: str) -> dict[str, float]:
    """One run of the generator; raises CalledProcessError."""
    argv = [str(program), kind, topology.client, topology.server, topology.address, str(LEG_SECONDS), place]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=60)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _round(program: Path, found: Sequence[Topology], results: Mapping[str, Carried]) -> None:
    for topology in found:
        streamed = _leg(program, "stream", topology, FREE)
        results[topology.name].gigabits.append(streamed["bytes"] * 8 / streamed["seconds"] / 1e9)
        time.sleep(PAUSE_SECONDS)
    for topology in found:
        exchanged = _leg(program, "exchange", topology, APART if len(os.sched_getaffinity(0)) > 1 else TOGETHER)
        results[topology.name].exchanges.append(exchanged["count"] / exchanged["seconds"])
        results[topology.name].p50_us.append(exchanged["p50_us"])
        results[topology.name].p99_us.append(exchanged["p99_us"])
        time.sleep(PAUSE_SECONDS)
    for topology in found:
        exchanged = _leg(program, "exchange", topology, TOGETHER)
        results[topology.name].exchanges_together.append(exchanged["count"] / exchanged["seconds"])
        time.sleep(PAUSE_SECONDS)


def run(rounds: int, reference: Path, bin_dir: Path, folder: Path) -> TrafficResults:
    """Make all topologies, then measure each kind `rounds` times over each of them, in an order that rotates."""
    program = folder / "traffic"
    hatch_build.compile_static([SOURCE], program)
    with ExitStack() as stack:
        found = topologies.all_topologies(stack, reference, bin_dir, folder)
        discarded = {topology.name: Carried() for topology in found}
        _round(program, found, discarded)
        results = {topology.name: Carried() for topology in found}
        for number in range(rounds):
            at = number * len(found) // rounds
            _round(program, [*found[at:], *found[:at]], results)
    return TrafficResults(results)
