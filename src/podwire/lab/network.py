"""podwire in a node of the lab: its configuration, its plug-in and its agent, installed as on a real node."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podwire.lab import containerd, programs
from podwire.lab.node import Node
from podwire.lab.service import Service

AGENT_SOCKET = "/run/podwire/agent.sock"
# Read before what `podwire install` wrote: a runtime takes the first file in the order of names.
CONFLIST = f"{containerd.CNI_CONF_DIR}/05-lab.conflist"
CLUSTER = ("10.244.0.0/16", "fd00:10:244::/48")
VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")


@dataclass(frozen=True)
class PodNetwork:
    """A node's pod network: how pods are wired, and out of which ranges they get their addresses."""

    mode: str = "routed"
    subnets: tuple[str, ...] = ("10.244.1.0/24",)
    cluster: tuple[str, ...] = CLUSTER
    name: str = "lab"

    def plugin(self) -> dict[str, Any]:
        """podwire's part of the configuration."""
        families = {ipaddress.ip_network(subnet).version for subnet in self.subnets}
        cluster = [each for each in self.cluster if ipaddress.ip_network(each).version in families]
        return {
            "type": "podwire",
            "mode": self.mode,
            "network": cluster if len(cluster) > 1 else cluster[0],
            "subnet": ",".join(self.subnets),
        }

    def conflist(self) -> str:
        """The whole configuration; 1.0.0 because older runtimes take nothing newer, and the newer ones read on."""
        head = {"cniVersion": "1.0.0", "cniVersions": VERSIONS, "name": self.name}
        return json.dumps({**head, "plugins": [self.plugin()]}, indent=1)

    def gateways(self) -> list[str]:
        """The addresses under which the node answers its pods: the first of each range."""
        return [str(ipaddress.ip_network(subnet)[1]) for subnet in self.subnets]


def install(node: Node, network: PodNetwork) -> None:
    """Put podwire and its configuration where the node's runtime looks."""
    folders = ("--bin-dir", containerd.CNI_BIN_DIR, "--conf-dir", containerd.CNI_CONF_DIR)
    node.run(*programs.podwire_argv(), "install", *folders)
    node.link_program(Path(programs.podwire_argv()[0]))
    node.write(CONFLIST, network.conflist())


def agent() -> Service:
    """The podwire agent as a service."""
    return Service("podwire", (*programs.podwire_argv(), "agent", "--socket", AGENT_SOCKET))


def start_agent(node: Node) -> None:
    """Start the agent and wait until it serves; raises NodeError with the end of its log."""
    node.serve(agent())
    node.wait_for(lambda: node.path(AGENT_SOCKET).exists(), "podwire")
