# SPDX-License-Identifier: Apache-2.0
"""The measurements: single calls, bursts, a full node, memory, and the parts of podwire's own time."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import namespaces, spawn
from bench.plugins import Plugin
from bench.spawn import Call

ROUNDS_A_CHUNK = 20  # namespaces made and deleted together
SETTLE_SECONDS = 0.03  # a deletion's RCU work goes on for about 25 ms after its answer
SETTLE_CHUNK_SECONDS = 1.0
AT_A_TIME = 8
WARM_UP_ROUNDS = 3
KIBIBYTE = 1024


@dataclass
class Samples:
    """All samples of one plugin, in seconds: single calls, and wall times of bursts."""

    add: list[float] = field(default_factory=list)
    delete: list[float] = field(default_factory=list)
    add_burst_wall: list[float] = field(default_factory=list)
    add_burst_each: list[float] = field(default_factory=list)
    del_burst_wall: list[float] = field(default_factory=list)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; raises IndexError for no samples."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _rotated(plugins: Sequence[Plugin], by: int) -> list[Plugin]:
    """Another order in every round, so that no plugin always follows the same other plugin."""
    at = by % len(plugins)
    return [*plugins[at:], *plugins[:at]]


def single_calls(plugins: Sequence[Plugin], rounds: int, samples: Mapping[str, Samples]) -> None:
    """`rounds` times, alternating: an ADD of each into a fresh namespace, then a DEL of each."""
    for first in range(0, rounds, ROUNDS_A_CHUNK):
        numbers = range(first, min(first + ROUNDS_A_CHUNK, rounds))
        with namespaces.pods(len(numbers) * len(plugins)) as pods, _no_collection():
            waiting = iter(pods)
            for number in numbers:
                played = [(plugin, next(waiting)) for plugin in _rotated(plugins, number)]
                for plugin, pod in played:
                    samples[plugin.name].add.append(spawn.run(plugin.call("ADD", pod)))
                for plugin, pod in played:
                    samples[plugin.name].delete.append(spawn.run(plugin.call("DEL", pod)))
                    time.sleep(SETTLE_SECONDS)
        time.sleep(SETTLE_CHUNK_SECONDS)


def bursts(plugins: Sequence[Plugin], rounds: int, count: int, samples: Mapping[str, Samples]) -> None:
    """`rounds` times, alternating: `count` ADDs of each, 8 at a time, then as many DELs."""
    for number in range(rounds):
        for plugin in _rotated(plugins, number):
            mine = samples[plugin.name]
            with namespaces.pods(count) as pods, _no_collection():
                added = spawn.run_burst([plugin.call("ADD", pod) for pod in pods], AT_A_TIME)
                time.sleep(SETTLE_SECONDS)
                deleted = spawn.run_burst([plugin.call("DEL", pod) for pod in pods], AT_A_TIME)
            mine.add_burst_wall.append(added.wall_seconds)
            mine.add_burst_each.extend(added.each_seconds)
            mine.del_burst_wall.append(deleted.wall_seconds)
            time.sleep(SETTLE_CHUNK_SECONDS)


@dataclass(frozen=True)
class FullNode:
    """ADD on an empty and a full node (p50 and the kernel's part, seconds), and the agents' memory (MiB)."""

    pods: int
    add_empty: float
    add_full: float
    kernel_empty: float
    kernel_full: float
    resident_mib_empty: float
    resident_mib_full: float


def memory_mib(pid: int) -> tuple[float, float]:
    """The memory of a process now, and its maximum (VmRSS, VmHWM)."""
    found = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, most = (int(found[key].split()[0]) / KIBIBYTE for key in ("VmRSS", "VmHWM"))
    return now, most


@dataclass(frozen=True)
class Node:
    """A plugin with an agent in a namespace of its own."""

    plugin: Plugin
    agent_pid: int
    log: Path


def full_node(empty: Node, full: Node, count: int, rounds: int) -> FullNode:
    """ADDs that alternate between an empty node and a node with `count` pods."""
    with namespaces.pods(count) as present:
        spawn.run_burst([full.plugin.call("ADD", pod) for pod in present], AT_A_TIME)
        time.sleep(SETTLE_CHUNK_SECONDS)
        resident_full, _ = memory_mib(full.agent_pid)
        resident_empty, _ = memory_mib(empty.agent_pid)
        samples = {node.plugin.name: Samples() for node in (empty, full)}
        single_calls([empty.plugin, full.plugin], WARM_UP_ROUNDS, {name: Samples() for name in samples})
        before = [node.log.stat().st_size for node in (empty, full)]
        single_calls([empty.plugin, full.plugin], rounds, samples)
        kernel_empty, kernel_full = (
            kernel_seconds(node.log.read_bytes()[at:].decode()) for node, at in zip((empty, full), before, strict=True)
        )
        spawn.run_burst([full.plugin.call("DEL", pod) for pod in present], AT_A_TIME)
    add_empty, add_full = (statistics.median(samples[node.plugin.name].add) for node in (empty, full))
    return FullNode(count, add_empty, add_full, kernel_empty, kernel_full, resident_empty, resident_full)


@dataclass(frozen=True)
class Shares:
    """The parts of the time of a routed ADD, p50 in seconds."""

    whole: float
    exec: float
    socket: float
    kernel: float


def shares(plugin: Plugin, rounds: int, log: Path) -> Shares:
    """ADDs of one plugin, split into parts.

    exec: the shim that only prints its about text. socket: a VERSION through the agent, less exec. kernel: `kernel_ms`
    in the agent's log. Python: the rest.
    """
    about, version = [], []
    with namespaces.pods(1) as (pod,), _no_collection():
        version_call = plugin.call("VERSION", pod)
        about_call = Call(version_call.program, {**version_call.environment, "CNI_COMMAND": ""}, version_call.stdin)
        for _ in range(rounds):
            about.append(spawn.run(about_call))
            version.append(spawn.run(version_call))
    samples = {plugin.name: Samples()}
    before = log.stat().st_size
    single_calls([plugin], rounds, samples)
    exec_seconds = statistics.median(about)
    return Shares(
        whole=statistics.median(samples[plugin.name].add),
        exec=exec_seconds,
        socket=statistics.median(version) - exec_seconds,
        kernel=kernel_seconds(log.read_bytes()[before:].decode()),
    )


def kernel_seconds(log: str) -> float:
    """The median of `kernel_ms` in the agent's lines about ADDs that succeeded."""
    found = re.findall(r"ADD .* status=0 ms=[\d.]+ kernel_ms=([\d.]+)", log)
    return statistics.median(float(milliseconds) for milliseconds in found) / 1e3
