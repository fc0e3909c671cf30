# SPDX-License-Identifier: Apache-2.0
"""Part `scale`: thousands of peers in a node's settings file; first start, one peer more or less, memory."""

from __future__ import annotations

import ipaddress
import re
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from bench import namespaces, plugins
from bench.measures import memory_mib
from bench.report import Target, milliseconds
from podwire.netlink.constants import RTM_DELROUTE, RTM_NEWROUTE, RTMGRP_IPV4_ROUTE, SO_RCVBUFFORCE

RECEIVE_BUFFER_BYTES = 8 << 20
OWN = "172.16.0.1"
ON_LINK = ipaddress.ip_address("172.16.1.0")
FAR = ipaddress.ip_address("172.20.1.0")
RANGES = ipaddress.ip_address("10.0.0.0")
HEAD = f"""name = "bench"
addresses = ["{OWN}"]
pod_cidrs = ["10.255.0.0/24"]
cluster_cidrs = ["10.0.0.0/8"]
[cni]
write = false
"""
APPLIED = re.compile(r"node bench: .* ms=([\d.]+)")
"""The agent's line about new settings: first at its start, then for each change of the file."""

FIRST_BOUND_SECONDS = 5.0
CHANGE_BOUND_SECONDS = 0.05
MEMORY_BOUND_MIB = 60.0


@dataclass(frozen=True)
class Scale:
    """One run with peers that are all reached in the same way; seconds and MiB.

    `start` is from the agent's exec until it serves, with the routes of all peers. `added` and `removed` are from the
    renaming of the file until the kernel announces the route, for every change. `own_*` are the agent's own figures.
    `restored` is from the flush of all routes until the last one exists again.
    """

    path: str
    peers: int
    start: float
    own_start: float
    added: Sequence[float]
    removed: Sequence[float]
    own_changes: Sequence[float]
    restored: float
    resident_mib: float
    most_mib: float


def peer(number: int, first: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """A peer's table (TOML): a node address of its own behind `first`, one /24 of pods."""
    pods = f"{RANGES + (number << 8)}/24"
    return f'[[peers]]\nname = "node-{number}"\naddresses = ["{first + number}"]\npod_cidrs = ["{pods}"]\n'


def replace(path: Path, text: str) -> float:
    """Replace a file by renaming, as an editor or a controller does; the time of it (perf_counter)."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    now = time.perf_counter()
    beside.rename(path)
    return now


class RouteEvents:
    """Notifications of the kernel about IPv4 routes in the current namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        self._socket.bind((0, RTMGRP_IPV4_ROUTE))
        self._socket.settimeout(namespaces.LIMIT_SECONDS)

    def close(self) -> None:
        self._socket.close()

    def seen(self, kind: int, destination: bytes) -> float:
        """The time when a route was added (RTM_NEWROUTE) or deleted (RTM_DELROUTE); raises TimeoutError."""
        while True:
            message = self._socket.recv(65536)
            now = time.perf_counter()
            if int.from_bytes(message[4:6], "little") == kind and destination in message:
                return now


def _routes() -> int:
    """The routes through peers that are in the kernel (`/proc/net/route`: gateway, flags UP and GATEWAY)."""
    with Path("/proc/thread-self/net/route").open() as lines:
        return sum(1 for line in lines if line.split()[3] == "0003")


def measure(path: str, count: int, changes: int, folder: Path) -> Scale:
    """An agent with `count` peers, `path` "direct" or "vxlan"; `changes` peers are added one by one, then removed."""
    first = ON_LINK if path == "direct" else FAR
    file, log = folder / f"{path}.toml", folder / f"{path}.log"
    peers = [peer(number, first) for number in range(count + changes)]
    with namespaces.host():
        namespaces.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "segment")
        for device in ("eth0", "segment"):
            namespaces.run("ip", "link", "set", device, "up")
        namespaces.run("ip", "addr", "add", f"{OWN}/14" if path == "direct" else f"{OWN}/24", "dev", "eth0")
        replace(file, HEAD + "".join(peers[:count]))
        begun = time.perf_counter()
        with plugins.agent(folder / f"{path}.sock", log, "--config", str(file)) as agent_pid:
            start = time.perf_counter() - begun
            if _routes() != count:
                raise RuntimeError(f"{_routes()} routes for {count} peers: {log.read_text()[-2000:]}")
            time.sleep(1)
            events = RouteEvents()
            added, removed = [], []
            for number in range(count, count + changes):
                now = replace(file, HEAD + "".join(peers[: number + 1]))
                added.append(events.seen(RTM_NEWROUTE, (RANGES + (number << 8)).packed) - now)
                time.sleep(0.3)
            for number in reversed(range(count, count + changes)):
                now = replace(file, HEAD + "".join(peers[:number]))
                removed.append(events.seen(RTM_DELROUTE, (RANGES + (number << 8)).packed) - now)
                time.sleep(0.3)
            events.close()
            told = log.read_text()
            own = [float(text) / 1e3 for text in APPLIED.findall(told)]
            resident, _ = memory_mib(agent_pid)
            now = time.perf_counter()
            namespaces.run("ip", "route", "flush", "proto", "112")
            namespaces.wait_until(lambda: _routes() == count)
            restored = time.perf_counter() - now
            time.sleep(1)
            after, most = memory_mib(agent_pid)
    return Scale(path, count, start, own[0], added, removed, own[1:], restored, max(resident, after), most)


@dataclass(frozen=True)
class ScaleResults:
    """What the part measured, for the report."""

    runs: Sequence[Scale]

    def targets(self) -> list[Target]:
        """The figures with their bounds."""
        found = []
        for run in self.runs:
            of = f"{run.peers} peers, {run.path}"
            found += [
                Target(f"{of}: first start", run.own_start, FIRST_BOUND_SECONDS, at_most=True, unit=" s"),
                Target(
                    f"{of}: one more or less, p50",
                    statistics.median([*run.added, *run.removed]) * 1e3,
                    CHANGE_BOUND_SECONDS * 1e3,
                    at_most=True,
                    unit=" ms",
                ),
                Target(f"{of}: agent", run.resident_mib, MEMORY_BOUND_MIB, at_most=True, unit=" MiB"),
            ]
        return found

    def tables(self) -> list[Table]:
        """For people."""
        table = Table(title="peers in the settings file (ms; p50 and the longest)")
        for title in ("", "start", "of it routes", "one added", "one removed", "agent's own figure", "all restored"):
            table.add_column(title, justify="right" if title else "left")
        table.add_column("MiB (most)", justify="right")
        for run in self.runs:
            table.add_row(
                f"{run.peers} {run.path}",
                milliseconds(run.start),
                milliseconds(run.own_start),
                *(
                    f"{milliseconds(statistics.median(each))} ({milliseconds(max(each))})"
                    for each in (run.added, run.removed, run.own_changes)
                ),
                milliseconds(run.restored),
                f"{run.resident_mib:.1f} ({run.most_mib:.1f})",
            )
        return [table]

    def document(self) -> list[dict[str, Any]]:
        """For the JSON."""
        return [asdict(run) for run in self.runs]
