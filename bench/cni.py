# SPDX-License-Identifier: Apache-2.0
"""Part `cni`: podwire, the reference plugins and the floor (a lower bound), executed as a runtime does, alternating."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import measures, namespaces, plugins
from bench.measures import FullNode, Samples, Shares, percentile
from bench.plugins import FLOOR, FLOOR_LEAN, Plugin
from bench.report import Target, milliseconds

ONESHOT_ROUNDS = 20
SHARE_ROUNDS = 40
SERIES = {
    "add": "ADD",
    "delete": "DEL",
    "add_burst_wall": "ADD burst, all",
    "add_burst_each": "each of it",
    "del_burst_wall": "DEL burst, all",
}
POD = "podwire"
BRIDGE = "bridge"
ONESHOT = "podwire-oneshot"
BEFORE = "before"
BEFORE_ONESHOT = "before-oneshot"


@dataclass(frozen=True)
class CniResults:
    """What the part measured, for the report."""

    samples: Mapping[str, Samples]
    full: FullNode | None
    shares: Shares | None
    full_before: FullNode | None = None
    """The same of another checkout (`--before`)."""

    def targets(self) -> list[Target]:
        """The figures with their bounds."""
        return _targets(self)

    def tables(self) -> list[Table]:
        """For people."""
        found = [_times_table(self)]
        if self.shares:
            found.append(_shares_table(self.shares))
        if self.full:
            found.append(_full_table(self.full))
        return found

    def document(self) -> dict[str, Any]:
        """For the JSON: each sample in microseconds."""
        return {
            "samples_us": {
                name: {series: [round(each * 1e6) for each in values] for series, values in asdict(samples).items()}
                for name, samples in self.samples.items()
            },
            "full_node": asdict(self.full) if self.full else None,
            "shares": asdict(self.shares) if self.shares else None,
        }


def run(arguments: argparse.Namespace, reference: Path, bin_dir: Path | None, folder: Path) -> CniResults:
    """Measure; `bin_dir` is where podwire was installed, None leaves it out."""
    measured = [*plugins.floors(folder), *plugins.references(reference, folder / "leases")]
    log = folder / "agent.log"
    agent_pid = None
    before: Path | None = arguments.before and (arguments.before / ".venv" / "bin" / "podwire").absolute()
    with ExitStack() as stack:
        stack.enter_context(namespaces.host())
        if bin_dir:
            measured = [*plugins.podwires(bin_dir, folder / "agent.sock"), *measured]
            agent_pid = stack.enter_context(plugins.agent(folder / "agent.sock", log))
        if before:
            (folder / BEFORE).mkdir()
            socket = folder / BEFORE / "agent.sock"
            bin_dir_before = plugins.install(folder / BEFORE, before)
            measured = [*plugins.podwires(bin_dir_before, socket, BEFORE, 200), *measured]
            stack.enter_context(plugins.agent(socket, folder / BEFORE / "agent.log", podwire=before))
        if arguments.only:
            measured = [plugin for plugin in measured if plugin.name in arguments.only]
        results = _measure(measured, arguments, agent_pid, log)
    if bin_dir and arguments.pods:
        results = replace(results, full=_full_node(bin_dir, arguments.pods, arguments.rounds, folder))
    if before and arguments.pods:
        full = _full_node(bin_dir_before, arguments.pods, arguments.rounds, folder / BEFORE, before)
        results = replace(results, full_before=full)
    return results


def _measure(measured: list[Plugin], arguments: argparse.Namespace, agent_pid: int | None, log: Path) -> CniResults:
    samples = {plugin.name: Samples() for plugin in measured}
    named = {plugin.name: plugin for plugin in measured}
    podwire = named.get(POD)
    slow = [plugin for plugin in measured if plugin.name in (ONESHOT, BEFORE_ONESHOT)]
    quick = [plugin for plugin in measured if plugin not in slow]
    discarded = {name: Samples() for name in samples}
    # The first calls make bridges, load modules and fill caches.
    measures.single_calls(measured, measures.WARM_UP_ROUNDS, discarded)
    measures.single_calls(quick, arguments.rounds, samples)
    if slow:
        measures.single_calls(slow, min(ONESHOT_ROUNDS * len(slow), arguments.rounds), samples)
    measures.bursts(quick, arguments.bursts, arguments.burst_calls, samples)
    if podwire is None or agent_pid is None:
        return CniResults(samples, None, None)
    shares = measures.shares(podwire, SHARE_ROUNDS, log)
    return CniResults(samples, None, shares)


def _full_node(bin_dir: Path, pods: int, rounds: int, folder: Path, podwire: Path = plugins.PODWIRE) -> FullNode:
    """Two nodes, each with an agent: one stays empty, the other gets `pods` pods."""
    with ExitStack() as stack:
        nodes = []
        for name in ("empty", "full"):
            socket, log = folder / f"{name}.sock", folder / f"{name}.log"
            stack.enter_context(namespaces.host())
            pid = stack.enter_context(plugins.agent(socket, log, podwire=podwire))
            plugin = replace(plugins.podwires(bin_dir, socket)[0], name=name)
            nodes.append(measures.Node(plugin, pid, log))
        return measures.full_node(nodes[0], nodes[1], pods, rounds)


def _median(results: CniResults, plugin: str, series: str) -> float | None:
    samples = results.samples.get(plugin)
    values = getattr(samples, series) if samples else []
    return statistics.median(values) if values else None


def _ratio(results: CniResults, over: str, under: str, series: str) -> float | None:
    above, below = _median(results, over, series), _median(results, under, series)
    return above / below if above and below else None


def _against_before(results: CniResults) -> list[Target]:
    """This checkout against another one (`--before`)."""
    if BEFORE not in results.samples:
        return []
    now, earlier = results.full, results.full_before
    memory = now.resident_mib_full / earlier.resident_mib_full if now and earlier else None
    series = {"add": "ADD p50", "delete": "DEL p50", "add_burst_wall": "100 ADDs", "del_burst_wall": "100 DELs"}
    return [
        *(
            Target(f"{title}: now / before", _ratio(results, POD, BEFORE, name), 1.03, at_most=True)
            for name, title in series.items()
        ),
        Target(
            "bridge mode, ADD p50: now / before",
            _ratio(results, "podwire-bridge", "before-bridge", "add"),
            1.03,
            at_most=True,
        ),
        Target("one-shot ADD p50: now / before", _ratio(results, ONESHOT, BEFORE_ONESHOT, "add"), 1.25, at_most=True),
        Target("agent's memory: now / before", memory, 1.0, at_most=True),
    ]


def _targets(results: CniResults) -> list[Target]:
    full = results.full
    return [
        Target("ADD p50: podwire / floor", _ratio(results, POD, FLOOR, "add"), 1.5, at_most=True),
        Target(f"ADD p50: podwire / {FLOOR_LEAN}", _ratio(results, POD, FLOOR_LEAN, "add"), None),
        Target("ADD p50: bridge / podwire", _ratio(results, BRIDGE, POD, "add"), 5.5),
        Target("100 ADDs: podwire / floor", _ratio(results, POD, FLOOR, "add_burst_wall"), 1.0, at_most=True),
        Target(f"100 ADDs: podwire / {FLOOR_LEAN}", _ratio(results, POD, FLOOR_LEAN, "add_burst_wall"), None),
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
        *_against_before(results),
    ]


def _times_table(results: CniResults) -> Table:
    table = Table(title="milliseconds, p50 (p99); a burst goes 8 at a time")
    table.add_column("plugin")
    for title in SERIES.values():
        table.add_column(title, justify="right")
    for name, samples in results.samples.items():
        cells = []
        for series in SERIES:
            values = getattr(samples, series)
            cell = milliseconds(statistics.median(values)) if values else "-"
            if values and not series.endswith("_wall"):
                cell += f" ({milliseconds(percentile(values, 99))})"
            cells.append(cell)
        table.add_row(name, *cells)
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
        table.add_row(name, milliseconds(seconds), f"{seconds / shares.whole:.0%}")
    table.add_row("all", milliseconds(shares.whole), "100%")
    return table


def _full_table(full: FullNode) -> Table:
    table = Table(title="two nodes, one empty and one full, alternating")
    for title in ("pods present", "ADD p50, ms", "of it kernel", "agent, MiB"):
        table.add_column(title, justify="right")
    empty = (full.add_empty, full.kernel_empty, full.resident_mib_empty)
    for pods, (add, kernel, resident) in (
        (0, empty),
        (full.pods, (full.add_full, full.kernel_full, full.resident_mib_full)),
    ):
        table.add_row(str(pods), milliseconds(add), milliseconds(kernel), f"{resident:.1f}")
    return table
