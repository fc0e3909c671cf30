# SPDX-License-Identifier: Apache-2.0
"""Several nodes on one machine, each a namespace with an agent of its own, on an underlay made for the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}
CLUSTER = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
OUTSIDE = {4: "203.0.113.1", 6: "2001:db8:113::1"}


def segment(number: int, family: int) -> str:
    """A layer-2 segment's prefix, without the host's bits."""
    return f"192.168.{30 + number}." if family == 4 else f"fd00:192:168:{30 + number}::"


@dataclass
class Node:
    """A node: its namespace, its number, its segment, its pods."""

    number: int
    segment: int
    families: tuple[int, ...]
    host: Host
    folder: Path
    agent: Agent | None = None
    pods: dict[str, Namespace] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def file(self) -> Path:
        return self.folder / "podwire.toml"

    def addresses(self) -> list[str]:
        return [f"{segment(self.segment, family)}{10 + self.number}" for family in self.families]

    def pod_cidrs(self) -> list[str]:
        four, six = f"10.244.{self.number}.0/24", f"fd00:10:244:{self.number}::/64"
        return [{4: four, 6: six}[family] for family in self.families]

    def ip(self, pod: str, family: int) -> str:
        """The address of one of its pods."""
        found = [address.partition("/")[0] for address in self.pods[pod].addresses("eth0")]
        return next(entry for entry in found if ip_address(entry).version == family)


class Cluster:
    """Nodes in segments, a router between the segments, and an outside that has no route to pods."""

    def __init__(
        self,
        bin_dir: Path,
        folder: Path,
        *,
        segments: tuple[int, ...] = (0, 0),
        family: str = "v4",
        mode: str = "routed",
    ) -> None:
        self._bin_dir = bin_dir
        self._stack = ExitStack()
        self.families = FAMILIES[family]
        self.mode = mode
        self.router = self._stack.enter_context(Host())
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.router.run("sysctl", "-q", "-w", key)
        self.router.ip("addr", "add", f"{OUTSIDE[4]}/32", "dev", "lo")
        self.router.ip("addr", "add", f"{OUTSIDE[6]}/128", "dev", "lo")
        self.nodes = [self._node(number, place, folder) for number, place in enumerate(segments)]
        for number in sorted(set(segments)):
            self._segment(number)

    def _node(self, number: int, place: int, folder: Path) -> Node:
        own = folder / f"node-{number}"
        own.mkdir()
        return Node(number, place, self.families, self._stack.enter_context(Host()), own)

    def _segment(self, number: int) -> None:
        bridge = f"seg{number}"
        self.router.ip("link", "add", bridge, "type", "bridge")
        self.router.ip("link", "set", bridge, "up")
        for family in self.families:
            address = f"{segment(number, family)}1/{24 if family == 4 else 64}"
            self.router.ip("addr", "add", address, "dev", bridge, *(["nodad"] if family == 6 else []))
        for node in (node for node in self.nodes if node.segment == number):
            port = f"to{node.number}"
            peer = ("peer", "name", "eth0", "netns", node.host.name)
            self.router.ip("link", "add", port, "type", "veth", *peer)
            self.router.ip("link", "set", port, "master", bridge, "up")
            node.host.ip("link", "set", "eth0", "up")
            for family, address in zip(self.families, node.addresses(), strict=True):
                length = 24 if family == 4 else 64
                node.host.ip("addr", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if family == 6 else []))
                node.host.ip(f"-{family}", "route", "add", "default", "via", f"{segment(number, family)}1")

    def settings(self, node: Node, **changes: Any) -> str:
        """A node's file (TOML)."""
        values = {
            "name": node.name,
            "addresses": node.addresses(),
            "pod_cidrs": node.pod_cidrs(),
            "cluster_cidrs": [CLUSTER[family] for family in self.families],
            "mode": self.mode,
        }
        tunnel = changes.pop("tunnel", "auto")
        peers = changes.pop("peers", [other for other in self.nodes if other is not node])
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**values, **changes}.items()]
        lines += ["[tunnel]", f'when = "{tunnel}"', "[cni]", f'conf_dir = "{node.folder / "net.d"}"']
        for peer in peers:
            lines += ["[[peers]]", f'name = "{peer.name}"']
            lines += [f"addresses = {json.dumps(peer.addresses())}", f"pod_cidrs = {json.dumps(peer.pod_cidrs())}"]
        return "\n".join(lines) + "\n"

    def start(self, node: Node, **changes: Any) -> Agent:
        """Write a node's file and start its agent."""
        node.file.write_text(self.settings(node, **changes))
        node.agent = Agent(node.host, node.folder, ["--config", str(node.file)])
        assert wait_until((node.folder / "net.d" / "10-podwire.conflist").exists), node.agent.log.read_text()
        return node.agent

    def start_all(self, **changes: Any) -> None:
        for node in self.nodes:
            self.start(node, **changes)

    def add_pod(self, node: Node, name: str) -> Namespace:
        """A pod, wired by the plugin with the configuration that the agent wrote."""
        pod = self._stack.enter_context(Namespace())
        assert node.agent is not None
        plugin = Plugin(self._bin_dir / "podwire", node.host, environment={"PODWIRE_SOCKET": str(node.agent.socket)})
        conflist = json.loads((node.folder / "net.d" / "10-podwire.conflist").read_text())
        config = {"cniVersion": "1.0.0", "name": conflist["name"], **conflist["plugins"][0]}
        done = plugin.call("ADD", config, name, pod.path, ifname="eth0")
        assert done.ok, done
        node.pods[name] = pod
        return pod

    def close(self) -> None:
        """End agents, delete namespaces."""
        for node in self.nodes:
            if node.agent:
                node.agent.stop()
        self._stack.close()


MakeCluster = Callable[..., Cluster]


def prefix_of(network: str) -> str:
    """A range as `ip route` prints it."""
    return str(ip_network(network))
