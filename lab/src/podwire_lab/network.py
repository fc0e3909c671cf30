# SPDX-License-Identifier: Apache-2.0
"""podwire on a node of the lab: the plugin, the agent and the agent's settings, as on a real machine."""

from __future__ import annotations

import json
from pathlib import Path

from podwire.install import cni_config
from podwire.install import files as installation
from podwire.install.errors import InstallationError
from podwire_lab import containerd, programs
from podwire_lab.layout import Layout, NodePlan
from podwire_lab.node import Node
from podwire_lab.service import Service

AGENT = "podwire"
AGENT_SOCKET = "/run/podwire/agent.sock"
SETTINGS = "/etc/podwire/podwire.toml"
CONFLIST = f"{containerd.CNI_CONF_DIR}/{cni_config.FILE_NAME}"


def settings(layout: Layout, plan: NodePlan) -> str:
    """The agent's settings on a node (TOML): the node, the cluster and the other nodes as peers."""
    spec = layout.spec
    lines = [
        f"name = {json.dumps(plan.name)}",
        *_node_keys(plan),
        f"cluster_cidrs = {json.dumps(layout.cluster)}",
        f"mode = {json.dumps(spec.mode)}",
        "",
        "[tunnel]",
        f"when = {json.dumps(spec.tunnel)}",
    ]
    for peer in layout.nodes:
        if peer is not plan:
            lines += ["", "[[peers]]", f"name = {json.dumps(peer.name)}", *_node_keys(peer)]
    return "\n".join(lines) + "\n"


def _node_keys(plan: NodePlan) -> list[str]:
    # A JSON list of strings is a TOML list as well.
    return [f"addresses = {json.dumps(plan.addresses)}", f"pod_cidrs = {json.dumps(plan.pod_cidrs)}"]


def install(node: Node) -> None:
    """Install the plugin for the runtime; the agent writes the network configuration.

    Raises InstallationError.
    """
    folder = node.path(containerd.CNI_BIN_DIR)
    if not installation.SHIM.is_file():
        raise InstallationError(f"{installation.SHIM} is missing: build it with `make build`")
    binary = installation.stamped(installation.SHIM.read_bytes(), installation.oneshot_argv())
    for name in installation.NAMES:
        installation.write_atomically(folder / name, binary, 0o755)
    node.link_program(Path(programs.podwire_argv()[0]))


def agent(*options: str) -> Service:
    """The podwire agent as a service."""
    return Service(AGENT, (*programs.podwire_argv(), "agent", "--socket", AGENT_SOCKET, *options))


def start_agent(node: Node, *options: str) -> None:
    """Start the agent and wait until it serves; raises NodeError with the end of its log."""
    node.serve(agent(*options))
    node.wait_for(lambda: node.path(AGENT_SOCKET).exists(), AGENT)
