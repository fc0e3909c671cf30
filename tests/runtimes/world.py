# SPDX-License-Identifier: Apache-2.0
"""A node of the lab with an outside, wired by the plugin under test: what every runtime is tried in."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from podwire_lab import lock, network, node, runtime
from podwire_lab.containerd import CNI_BIN_DIR, CNI_CONF_DIR, Containerd, debian
from podwire_lab.lab_host import FOLDER, LabHost
from podwire_lab.layout import CLUSTER, INTERNET_ADDRESS, LabSpec, layout
from podwire_lab.node import Node
from podwire_lab.underlay import Underlay
from tests.runtimes.mirror import Mirror
from tests.support.namespace import Namespace, left_after
from tests.support.snapshot import Snapshot, difference, snapshot
from tests.support.tools import reference_plugins, tool

LAB_PREFIX = "pwt"
_LAST_LEASE = re.compile(r" last-lease [0-9a-f.: ]+")
AT_ONCE = 16
Item = TypeVar("Item")
Answer = TypeVar("Answer")
DUAL = ("10.244.1.0/24", "fd00:10:244:1::/64")
# Read before what the agent or `podwire install` wrote: a runtime takes the first file in the order of names.
CONFLIST = f"{CNI_CONF_DIR}/05-lab.conflist"
VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
ONE_NODE = layout(LabSpec(nodes=1))


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


@dataclass(frozen=True)
class Outside:
    """A host far away that has no route to pods: its addresses, and those of the node as it sees them."""

    host: LabHost
    addresses: tuple[str, ...] = tuple(INTERNET_ADDRESS.values())
    seen_node: tuple[str, ...] = ONE_NODE.nodes[0].addresses


@dataclass(frozen=True)
class Wiring:
    """A plugin as it is configured: podwire in a mode and run by the agent or without it, or the reference."""

    plugin: str
    agent: bool = False

    def __str__(self) -> str:
        return self.plugin if self.plugin == "reference" else f"{self.plugin}-{'agent' if self.agent else 'oneshot'}"

    @property
    def subnets(self) -> tuple[str, ...]:
        """The ranges of the pods' addresses."""
        return DUAL[:1] if self.plugin == "reference" else DUAL

    @property
    def gateways(self) -> list[str]:
        """The addresses under which the node answers its pods: the first of each range."""
        return [str(ip_network(subnet)[1]) for subnet in self.subnets]

    def plugins(self) -> list[dict[str, Any]]:
        """The part of a conflist that wires a pod."""
        if self.plugin != "reference":
            own = {"network": list(CLUSTER.values()), "subnet": ",".join(self.subnets)}
            return [{"type": "podwire", "mode": self.plugin, **own}]
        ipam = {"type": "host-local", "subnet": self.subnets[0], "routes": [{"dst": "0.0.0.0/0"}]}
        return [{"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "ipam": ipam}]

    def conflist(self, *chained: dict[str, Any]) -> str:
        """The whole configuration, with other plugins after this one."""
        head = {"cniVersion": "1.0.0", "cniVersions": VERSIONS, "name": "lab"}
        return json.dumps({**head, "plugins": [*self.plugins(), *chained]})

    def install(self, where: Node, *chained: dict[str, Any]) -> None:
        """Put the plugin, those chained to it, and the configuration in place; start the agent if wanted."""
        reference = reference_plugins()
        names = [each["type"] for each in chained]
        if self.plugin == "reference":
            names += ["bridge", "host-local", "loopback"]
        else:
            network.install(where)
        if names:
            runtime.install_programs(where, *(reference / name for name in names))
        where.write(CONFLIST, self.conflist(*chained))
        if self.agent:
            network.start_agent(where)


REFERENCE = [Wiring("reference")] if os.environ.get("PODWIRE_TEST_REFERENCE") else []
WITH_AGENT = [Wiring("bridge", agent=True), Wiring("routed", agent=True)]
ONESHOT = [Wiring("bridge"), Wiring("routed")]
WIRINGS = [*WITH_AGENT, *ONESHOT, *REFERENCE]


class Inside(Namespace):
    """The network namespace of a node that the lab has made."""

    def __init__(self, host: LabHost) -> None:
        # Not super().__init__(): that would make the namespace.
        self.name = host.netns


@dataclass(frozen=True)
class World:
    """One node, its outside with a mirror, and the wiring of its pods."""

    node: Node
    outside: Outside
    wiring: Wiring

    @property
    def network(self) -> Inside:
        """The node's network, to look at."""
        return Inside(self.node.host)

    @property
    def gateways(self) -> list[str]:
        """What pods may call as their gateway."""
        return self.wiring.gateways

    @property
    def families(self) -> int:
        """1 for IPv4 alone, 2 for dual stack."""
        return len(self.wiring.subnets)

    def snapshot(self) -> Snapshot:
        """The node's whole network state, but for the lease that a bridge's alias remembers as the last one."""
        return frozenset(_LAST_LEASE.sub("", line) for line in snapshot(self.network))

    def left_behind(self, before: Snapshot) -> list[str]:
        """How the network differs from before, once what the kernel still takes apart is gone."""
        return left_after(lambda: difference(before, self.snapshot()), timeout_seconds=10)

    def files_in(self, folder: str) -> list[str]:
        """The names in a folder of the node."""
        inside = self.node.path(folder)
        return sorted(path.name for path in inside.iterdir()) if inside.is_dir() else []


def sweep_dead() -> None:
    """Remove labs of test processes that no longer live."""
    for folder in FOLDER.glob(f"{LAB_PREFIX}-*"):
        pid = folder.name.split("-")[1]
        if not Path(f"/proc/{pid}").exists():
            node.remove_lab(folder.name)


_serial = iter(range(1_000_000))


@contextmanager
def world(wiring: Wiring, *chained: dict[str, Any]) -> Iterator[World]:
    """A node with an outside and the plugin installed; all of it goes at the end, whatever record_event."""
    lab = f"{LAB_PREFIX}-{os.getpid()}-{next(_serial)}"
    underlay = Underlay(lab, ONE_NODE)
    here, beyond = Node(underlay.node(ONE_NODE.nodes[0])), Outside(underlay.internet)
    try:
        with lock.hold(lab):
            underlay.create()
            here.start()
        wiring.install(here, *chained)
        with Mirror(beyond.host.netns_path):
            yield World(here, beyond, wiring)
    finally:
        node.remove_lab(lab)


def at_once(work: Callable[[Item], Answer], items: list[Item]) -> list[Answer]:
    """Do it for all items, 16 at a time; raises the first failure, after all have ended."""
    with ThreadPoolExecutor(AT_ONCE) as workers:
        return list(workers.map(work, items))


def containerd_2() -> Containerd:
    """containerd 2.4, built for the tests."""
    return Containerd(tool("containerd").parent, 3)


CONTAINERDS = {"containerd-1.6": debian, "containerd-2.4": containerd_2}

__all__ = [
    "CNI_BIN_DIR",
    "CNI_CONF_DIR",
    "CONTAINERDS",
    "ONESHOT",
    "REFERENCE",
    "WIRINGS",
    "WITH_AGENT",
    "Wiring",
    "World",
    "at_once",
    "bare",
    "sweep_dead",
    "world",
]
