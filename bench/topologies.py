# SPDX-License-Identifier: Apache-2.0
"""The topologies that connect two pods: a veth pair, the reference `bridge`, podwire; on one node or two.

Each topology has its own namespaces. Agents end when their pods are connected: a dozen agents that read the host once
a second would be part of every measurement.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import namespaces, plugins, spawn
from bench.namespaces import Pod
from bench.plugins import Plugin

VETH = "veth pair"
REFERENCE = "bridge plugin"
ROUTED = "routed"
BRIDGE_MODE = "bridge mode"
REFERENCE_MASQUERADE = "bridge plugin, masquerade"
ROUTED_MASQUERADE = "routed, masquerade"
REFERENCE_ROUTES = "two nodes: bridge plugin and static routes"
ROUTED_DIRECT = "two nodes: routed, direct"
CLUSTER = "10.240.0.0/16"


@dataclass(frozen=True)
class Topology:
    """Two network namespaces (as paths) and the server's address."""

    name: str
    client: str
    server: str
    address: str


def all_topologies(stack: ExitStack, reference: Path, bin_dir: Path, folder: Path) -> list[Topology]:
    """Make all topologies; they are deleted when `stack` is closed."""
    made = Wiring(stack, reference, bin_dir, folder)
    bare = made.bridge_plugin("one", 0, masquerade=False)
    masquerading = made.bridge_plugin("masquerading", 0, masquerade=True)
    return [
        made.veth_pair(),
        made.one_node(REFERENCE, bare),
        made.one_node(ROUTED, made.podwire(0, mode="routed")),
        made.one_node(BRIDGE_MODE, made.podwire(1, mode="bridge")),
        made.one_node(REFERENCE_MASQUERADE, masquerading),
        made.one_node(ROUTED_MASQUERADE, made.podwire(0, mode="routed", masquerade=True)),
        made.two_nodes_by_hand(REFERENCE_ROUTES),
        made.two_nodes(ROUTED_DIRECT, "routed", "auto"),
        made.two_nodes("two nodes: bridge mode, direct", "bridge", "auto"),
        made.two_nodes("two nodes: routed, VXLAN", "routed", "always"),
        made.two_nodes("two nodes: bridge mode, VXLAN", "bridge", "always"),
        made.two_nodes("two nodes: routed, direct, masquerade", "routed", "auto", masquerade=True),
    ]


def _node_address(number: int) -> str:
    return f"192.168.77.{number + 1}"


def _pod_range(number: int) -> str:
    return f"10.240.{number + 1}.0/24"


@contextmanager
def _agent_of(plugin: Plugin, folder: Path) -> Iterator[None]:
    """podwire's agent for the plugin, if the plugin uses one."""
    socket = plugin.environment.get("PODWIRE_SOCKET")
    if socket is None:
        yield
        return
    with plugins.agent(Path(socket), folder / "traffic-agent.log"):
        yield


class Wiring:
    """Connects pods; they are deleted with `stack`."""

    def __init__(self, stack: ExitStack, reference: Path, bin_dir: Path, folder: Path) -> None:
        self._stack = stack
        self._reference = reference
        self._bin_dir = bin_dir
        self._folder = folder

    def podwire(self, place: int, *, mode: str, masquerade: bool = False) -> Plugin:
        """podwire for pods of one node; `place` is its index in `plugins.podwires`."""
        plugin = plugins.podwires(self._bin_dir, self._folder / "traffic-agent.sock")[place]
        assert plugin.config["mode"] == mode
        return replace(plugin, config={**plugin.config, "ipMasq": masquerade})

    def bridge_plugin(self, state: str, number: int, *, masquerade: bool) -> Plugin:
        """The reference plugin with the pod range of a node."""
        plugin = plugins.references(self._reference, self._folder / f"leases-{state}")[0]
        ipam = {**plugin.config["ipam"], "ranges": [[{"subnet": _pod_range(number)}]]}
        return replace(plugin, config={**plugin.config, "ipMasq": masquerade, "ipam": ipam})

    def veth_pair(self) -> Topology:
        """Two namespaces and a veth pair."""
        client, server = self._nodes()
        return Topology(VETH, client.path, server.path, _node_address(1))

    def one_node(self, name: str, plugin: Plugin) -> Topology:
        """Two pods of one node."""
        (node,) = self._namespaces(1)
        client, server = self._namespaces(2)
        with namespaces.inside(node.descriptor), _agent_of(plugin, self._folder):
            for pod in (client, server):
                spawn.run(plugin.call("ADD", pod))
        return Topology(name, client.path, server.path, _address_in(server))

    def two_nodes_by_hand(self, name: str) -> Topology:
        """The reference plugin on two nodes, with static routes."""
        pods = self._namespaces(2)
        for number, (node, pod) in enumerate(zip(self._nodes(), pods, strict=True)):
            with namespaces.inside(node.descriptor):
                spawn.run(self.bridge_plugin(f"node-{number}", number, masquerade=False).call("ADD", pod))
                namespaces.run("ip", "route", "add", _pod_range(1 - number), "via", _node_address(1 - number))
        return Topology(name, pods[0].path, pods[1].path, _address_in(pods[1]))

    def two_nodes(self, name: str, mode: str, tunnel: str, *, masquerade: bool = False) -> Topology:
        """podwire on two nodes, each with a settings file."""
        pods = self._namespaces(2)
        for number, (node, pod) in enumerate(zip(self._nodes(), pods, strict=True)):
            folder = self._folder / f"node-{mode}-{tunnel}-{masquerade}-{number}"
            folder.mkdir()
            file, socket = folder / "podwire.toml", folder / "agent.sock"
            file.write_text(_settings(number, mode, tunnel, masquerade=masquerade, folder=folder))
            with namespaces.inside(node.descriptor), plugins.agent(socket, folder / "agent.log", "--config", str(file)):
                spawn.run(self._as_written(folder, socket).call("ADD", pod))
        return Topology(name, pods[0].path, pods[1].path, _address_in(pods[1]))

    def _as_written(self, folder: Path, socket: Path) -> Plugin:
        """podwire with the configuration that the agent wrote for the runtime."""
        namespaces.wait_until(lambda: any(folder.glob("*.conflist")))
        (path,) = folder.glob("*.conflist")
        conflist: dict[str, Any] = json.loads(path.read_text())
        program = self._bin_dir / "podwire"
        return Plugin(conflist["name"], program, conflist["plugins"][0], {"PODWIRE_SOCKET": str(socket)})

    def _namespaces(self, count: int) -> list[Pod]:
        return self._stack.enter_context(namespaces.pods(count))

    def _nodes(self) -> list[Pod]:
        """Two nodes in one segment: a veth pair, eth0 on either side."""
        nodes = self._namespaces(2)
        with namespaces.inside(nodes[0].descriptor):
            namespaces.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", nodes[1].path)
        for number, node in enumerate(nodes):
            with namespaces.inside(node.descriptor):
                namespaces.run("ip", "addr", "add", f"{_node_address(number)}/24", "dev", "eth0")
                for device in ("lo", "eth0"):
                    namespaces.run("ip", "link", "set", device, "up")
        return nodes


def _address_in(pod: Pod) -> str:
    with namespaces.inside(pod.descriptor):
        done = subprocess.run(["ip", "-j", "-4", "addr", "show", "eth0"], check=True, stdout=subprocess.PIPE)
    address: str = json.loads(done.stdout)[0]["addr_info"][0]["local"]
    return address


def _settings(number: int, mode: str, tunnel: str, *, masquerade: bool, folder: Path) -> str:
    other = 1 - number
    return "\n".join(
        [
            f'name = "bench-{number}"',
            f'addresses = ["{_node_address(number)}"]',
            f'pod_cidrs = ["{_pod_range(number)}"]',
            f'cluster_cidrs = ["{CLUSTER}"]',
            f'mode = "{mode}"',
            f"masquerade = {str(masquerade).lower()}",
            f'[tunnel]\nwhen = "{tunnel}"',
            f"[cni]\nconf_dir = {json.dumps(os.fspath(folder))}",
            f'[[peers]]\nname = "bench-{other}"',
            f'addresses = ["{_node_address(other)}"]',
            f'pod_cidrs = ["{_pod_range(other)}"]\n',
        ]
    )
