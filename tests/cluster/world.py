# SPDX-License-Identifier: Apache-2.0
"""A node that follows an API server: its underlay, the agent, the plugin that it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.access import Access
from tests.support.agent import PODWIRE, Agent
from tests.support.http import Labels, Page, get, samples, served_at
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

OWN, OWN_ADDRESSES = "node-0", ["192.168.30.10", "fd00:192:168:30::10"]
OWN_RANGES = ["10.244.0.0/24", "fd00:10:244::/64"]
COMMON = 'cluster_cidrs = ["10.244.0.0/16", "fd00:10:244::/48"]\n[cni]\nconf_dir = "CONF"\n'


class World:
    """A node with an underlay, an API server on its loopback, and the agent. `host` may be another after a boot."""

    def __init__(self, host: Host, api: Access, folder: Path) -> None:
        self.host, self.api, self.folder = host, api, folder
        self.conflist = folder / "net.d" / "10-podwire.conflist"
        self.file = folder / "common.toml"
        self.write_common()
        self.agent: Agent | None = None
        self._starts = 0
        self.connect(host)

    @staticmethod
    def connect(host: Host) -> None:
        """Give a namespace the node's underlay: one segment, on which nobody else is."""
        host.ip("link", "add", "eth0", "type", "bridge")
        host.ip("link", "set", "eth0", "up")
        for address, length in zip(OWN_ADDRESSES, ("24", "64"), strict=True):
            host.ip("addr", "add", f"{address}/{length}", "dev", "eth0", *(["nodad"] if ":" in address else []))

    def write_common(self, more: str = "") -> None:
        """The file with the settings of the whole cluster, replaced as editors do."""
        beside = self.file.with_suffix(".new")
        beside.write_text(COMMON.replace("CONF", str(self.folder / "net.d")) + more)
        beside.rename(self.file)

    def start(self, *more: str) -> Agent:
        self._starts += "--http" in more
        options = ["--kubernetes", "--node-name", OWN, "--kubeconfig", str(self.api.kubeconfig)]
        self.agent = Agent(self.host, self.folder, [*options, "--config", str(self.file), *more])
        return self.agent

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def says(self, words: str) -> bool:
        return wait_until(lambda: words in self.log())

    def ways(self, family: int = 4) -> dict[str, str]:
        """Where packets for each range go: the next hop of its route."""
        rows = self.host.routes(family)
        return {row["dst"]: row["gateway"] for row in rows if row.get("protocol") == "112" and "gateway" in row}

    def add_pod(self, bin_dir: Path, pod: Namespace, name: str) -> None:
        """A pod, wired with the configuration that the agent wrote; it is reached."""
        assert self.agent
        plugin = Plugin(bin_dir / "podwire", self.host, environment={"PODWIRE_SOCKET": str(self.agent.socket)})
        conflist = json.loads(self.conflist.read_text())
        config = {"cniVersion": "1.0.0", "name": conflist["name"], **conflist["plugins"][0]}
        done = plugin.call("ADD", config, name, pod.path, ifname="eth0")
        assert done.ok, done
        assert self.host.pings(pod.addresses()[0].partition("/")[0])

    def status(self) -> dict[str, Any]:
        """`podwire status -o json` on this node."""
        assert self.agent
        done = self.host.run(str(PODWIRE), "status", "-o", "json", "--socket", str(self.agent.socket))
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def node(self, name: str) -> dict[str, Any]:
        """A node's row of `podwire status`; empty if there is none."""
        return next((known for known in self.status()["nodes"] if known["name"] == name), {})

    def page(self, name: str) -> Page:
        """A page of the agent's HTTP server."""
        return get(self.host, served_at(self.folder / "agent.log", self._starts) + name)

    def metrics(self) -> dict[str, dict[Labels, float]]:
        return samples(self.page("metrics").text)


def add_own(api: Access) -> None:
    """This node's Node."""
    api.add_node(OWN, OWN_ADDRESSES, OWN_RANGES)


def add_peer(api: Access, number: int, address: str = "") -> None:
    """Another Node, on the same segment unless an address says otherwise."""
    api.add_node(f"node-{number}", [address or f"192.168.30.{10 + number}"], [f"10.244.{number}.0/24"])
