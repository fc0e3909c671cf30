# SPDX-License-Identifier: Apache-2.0
"""Part `cluster`: a hundred pods start on one node of a real Kubernetes cluster, with podwire and with `bridge`.

Both plugins alternate on the same node, with the same kubelet and containerd: for `bridge`, a configuration that sorts
before podwire's is written and removed again. stopwatch.c measures an ADD around the plugin's exec.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

import hatch_build
from bench.measures import percentile
from bench.report import Target, milliseconds
from tests.cluster.lab import Cluster, pod

NODE = "worker-1"
BIN, CONF, STOPWATCH = "/opt/cni/bin", "/etc/cni/net.d/00-bridge.conflist", "/run/podwire-stopwatch"
SOURCE = Path(__file__).parent / "stopwatch.c"
BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "reference",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni-ref0",
            "isGateway": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.244.128.0/20"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}
SETTLE_SECONDS = 6.0
"""containerd reads a new configuration at once; the kubelet needs some seconds."""


@dataclass(frozen=True)
class Burst:
    """One burst with one plugin: the time of each ADD, and from `kubectl apply` until all pods are Ready; seconds."""

    plugin: str
    adds: Sequence[float]
    ready: float


class ClusterResults:
    """All bursts, in their order."""

    def __init__(self, bursts: Sequence[Burst]) -> None:
        self.bursts = bursts

    def _adds(self, plugin: str) -> list[float]:
        return sorted(add for burst in self.bursts if burst.plugin == plugin for add in burst.adds)

    def _ratio(self, percent: float) -> float:
        return percentile(self._adds("podwire"), percent) / percentile(self._adds("bridge"), percent)

    def targets(self) -> list[Target]:
        """The ratios to `bridge` with their bounds."""
        return [
            Target("cluster: ADD p50 / bridge, 100 pods at once", self._ratio(50), 0.25, at_most=True),
            Target("cluster: ADD p99 / bridge, 100 pods at once", self._ratio(99), 1 / 3, at_most=True),
        ]

    def tables(self) -> list[Table]:
        """A row for each plugin."""
        table = Table(title=f"pods starting at once on {NODE} of a Kubernetes cluster; ms")
        for title in ("plugin", "ADDs", "ADD p50", "p90", "p99", "all Ready"):
            table.add_column(title, justify="left" if title == "plugin" else "right")
        for plugin in dict.fromkeys(burst.plugin for burst in self.bursts):
            adds = self._adds(plugin)
            ready = [burst.ready for burst in self.bursts if burst.plugin == plugin]
            shares = (milliseconds(percentile(adds, percent)) for percent in (50, 90, 99))
            table.add_row(plugin, str(len(adds)), *shares, milliseconds(sum(ready) / len(ready)))
        return [table]

    def document(self) -> Any:
        """Every sample."""
        return [asdict(burst) for burst in self.bursts]


def run(pods: int, bursts: int, reference: Path, folder: Path) -> ClusterResults:
    """Build a cluster, measure `bursts` bursts of `pods` pods with each plugin, remove the cluster."""
    hatch_build.compile_static([SOURCE], folder / "stopwatch")
    cluster = Cluster("bench", "--family", "v4", "--nodes", "2")
    cluster.down()
    try:
        cluster.up()
        for program in ("bridge", "host-local"):
            cluster.run(NODE, "cp", str(reference / program), f"{BIN}/{program}")
        for program in ("podwire", "bridge"):
            cluster.run(NODE, "mv", f"{BIN}/{program}", f"{BIN}/{program}.measured")
            cluster.run(NODE, "cp", str(folder / "stopwatch"), f"{BIN}/{program}")
        return ClusterResults([burst for _ in range(bursts) for burst in _both(cluster, pods)])
    finally:
        cluster.down()


def _both(cluster: Cluster, pods: int) -> Iterator[Burst]:
    yield _burst(cluster, "podwire", pods)
    with _configured(cluster):
        yield _burst(cluster, "bridge", pods)


@contextmanager
def _configured(cluster: Cluster) -> Iterator[None]:
    cluster.run(NODE, "tee", CONF, stdin=json.dumps(BRIDGE))
    time.sleep(SETTLE_SECONDS)
    try:
        yield
    finally:
        cluster.run(NODE, "rm", CONF)
        time.sleep(SETTLE_SECONDS)


def _burst(cluster: Cluster, plugin: str, pods: int) -> Burst:
    cluster.run(NODE, "rm", "-f", STOPWATCH)
    names = [f"burst-{number}" for number in range(pods)]
    begun = time.monotonic()
    cluster.apply(*(pod(name, NODE) for name in names))
    cluster.wait("pods", *names, seconds=200)
    ready = time.monotonic() - begun
    rows = [line.split() for line in cluster.run(NODE, "cat", STOPWATCH).splitlines()]
    adds = [int(took) / 1e9 for verb, status, took in rows if verb == "ADD" and status == "0"]
    if len(adds) != pods:
        raise RuntimeError(f"{plugin}: {len(adds)} ADDs for {pods} pods")
    cluster.kubectl("delete", "pods", *names, "--now")
    return Burst(plugin, adds, ready)
