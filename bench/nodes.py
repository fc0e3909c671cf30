# SPDX-License-Identifier: Apache-2.0
"""Part `nodes`: the agent watches a real API server with thousands of Node objects.

It measures the time until each Node has its route, and the agent's memory and CPU time while ten Nodes per second
change their status.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.table import Table

from bench.measures import memory_mib
from bench.report import Target
from tests.cluster.access import NODES, in_namespace
from tests.cluster.real import Real
from tests.support.agent import Agent
from tests.support.namespace import Host, wait_until

OWN = "node-0"
CHANGES_A_SECOND = 10
TICKS = os.sysconf("SC_CLK_TCK")
SETTLE_LIMIT_SECONDS = 120.0
SETTLE_BOUND_SECONDS, MEMORY_BOUND_MIB, CPU_BOUND_PERCENT = 15.0, 80.0, 2.0
_ADDRESSES, _RANGES = ip_address("192.168.64.10"), ip_address("10.128.0.0")


@dataclass(frozen=True)
class NodesResult:
    """Seconds from the agent's exec to the last route; MiB after it, and the maximum; percent of one CPU."""

    nodes: int
    settled: float
    resident_mib: float
    most_mib: float
    small_mib: float
    cpu_percent: float
    changes: int

    def targets(self) -> list[Target]:
        """The figures with their bounds."""
        return [
            Target("nodes: all routes", self.settled, SETTLE_BOUND_SECONDS, at_most=True, unit=" s"),
            Target("nodes: agent's memory", self.most_mib, MEMORY_BOUND_MIB, at_most=True, unit=" MiB"),
            Target("nodes: agent's CPU", self.cpu_percent, CPU_BOUND_PERCENT, at_most=True, unit=" %"),
        ]

    @property
    def node_kib(self) -> float:
        """Memory for each Node."""
        return (self.resident_mib - self.small_mib) * 1024 / self.nodes

    def tables(self) -> list[Table]:
        """One line."""
        table = Table(title="a real API server; Node objects without machines")
        row = {
            "Nodes": f"{self.nodes}",
            "all routes, s": f"{self.settled:.1f}",
            "MiB now": f"{self.resident_mib:.1f}",
            "MiB maximum": f"{self.most_mib:.1f}",
            "KiB a Node": f"{self.node_kib:.2f}",
            f"CPU at {CHANGES_A_SECOND} changes a second, %": f"{self.cpu_percent:.2f}",
        }
        for title in row:
            table.add_column(title, justify="right")
        table.add_row(*row.values())
        return [table]

    def document(self) -> Any:
        """Everything."""
        return {**asdict(self), "node_kib": self.node_kib}


def run(count: int, seconds: int, folder: Path) -> NodesResult:
    """Measure with `count` Nodes, changing some for `seconds`."""
    with Host() as host, _server(host, folder) as server:
        host.ip("link", "add", "eth0", "type", "bridge")
        host.ip("link", "set", "eth0", "up")
        host.ip("addr", "add", "192.168.64.10/18", "dev", "eth0")
        settings = folder / "nodes.toml"
        settings.write_text(f'cluster_ranges = ["10.128.0.0/9"]\n[cni]\nconf_dir = "{folder / "net.d"}"\n')
        (folder / "net.d").mkdir()
        in_namespace(host, lambda: _create(server, range(1)))
        with _agent(host, folder, server, settings) as agent:
            wait_until((folder / "net.d" / "10-podwire.conflist").exists, SETTLE_LIMIT_SECONDS)
            small, _ = memory_mib(agent.pid)
        in_namespace(host, lambda: _create(server, range(1, count)))
        begun = time.monotonic()
        with _agent(host, folder, server, settings) as agent:
            if not wait_until(lambda: _routes(agent.pid) >= count - 1, SETTLE_LIMIT_SECONDS):
                raise RuntimeError(f"{_routes(agent.pid)} routes for {count} Nodes: {agent.log.read_text()[-2000:]}")
            settled = time.monotonic() - begun
            time.sleep(3)
            resident, _ = memory_mib(agent.pid)
            before = _cpu_seconds(agent.pid)
            began = time.monotonic()
            changes = in_namespace(host, lambda: _change(server, count, seconds))
            cpu = (_cpu_seconds(agent.pid) - before) / (time.monotonic() - began) * 100
            most = memory_mib(agent.pid)[1]
    return NodesResult(count, settled, resident, most, small, cpu, changes)


@contextmanager
def _server(host: Host, folder: Path) -> Iterator[Real]:
    server = Real(host, folder)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextmanager
def _agent(host: Host, folder: Path, server: Real, settings: Path) -> Iterator[Agent]:
    options = ["--kubernetes", "--node-name", OWN, "--kubeconfig", str(server.kubeconfig), "--config", str(settings)]
    with Agent(host, folder, options) as agent:
        yield agent


def _connection(server: Real) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(server.authority))
    return http.client.HTTPSConnection(urlsplit(server.url).netloc, timeout=60, context=context)


def _ask(connection: http.client.HTTPSConnection, server: Real, method: str, path: str, body: Any, media: str) -> None:
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": f"application/{media}"}
    connection.request(method, path, json.dumps(body), headers)
    answer = connection.getresponse()
    said = answer.read()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {answer.status}: {said[:300].decode()}")


def _create(server: Real, numbers: range) -> None:
    connection = _connection(server)
    for number in numbers:
        pods = f"{_RANGES + (number << 8)}/24"
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}", "labels": {"kubernetes.io/hostname": f"node-{number}"}},
            "spec": {"podCIDR": pods, "podCIDRs": [pods]},
            "status": {
                "addresses": [{"type": "InternalIP", "address": str(_ADDRESSES + number)}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
                # A real Node is some kilobytes, most of it images.
                "images": [{"names": [f"localhost/image-{number}:v1"], "sizeBytes": 1 << 20} for number in range(40)],
            },
        }
        _ask(connection, server, "POST", NODES, node, "json")
    connection.close()


def _change(server: Real, count: int, seconds: int) -> int:
    """Heartbeats, as kubelets send them; how many."""
    connection = _connection(server)
    begun, done = time.monotonic(), 0
    while (now := time.monotonic() - begun) < seconds:
        if done >= now * CHANGES_A_SECOND:
            time.sleep(0.01)
            continue
        heard = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [{"type": "Ready", "status": "True", "reason": f"Heartbeat{done}", "lastHeartbeatTime": heard}]
        path = f"{NODES}/node-{1 + done % (count - 1)}/status"
        body = {"status": {"conditions": conditions}}
        _ask(connection, server, "PATCH", path, body, "strategic-merge-patch+json")
        done += 1
    connection.close()
    return done


def _routes(pid: int) -> int:
    """The routes through other nodes in the agent's namespace (`/proc/PID/net/route`: flags UP and GATEWAY)."""
    with Path(f"/proc/{pid}/net/route").open() as lines:
        return sum(1 for line in lines if line.split()[3] == "0003")


def _cpu_seconds(pid: int) -> float:
    """User and system time so far (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
