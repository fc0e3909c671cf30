"""podwire in a node of the lab: its plug-in, its agent and the agent's file, as on any machine."""

from __future__ import annotations

import json
from pathlib import Path

from podwire.install import files as installation
from podwire_lab import containerd, programs
from podwire_lab.layout import Layout, NodePlan
from podwire_lab.node import Node
from podwire_lab.service import Service

AGENT = "podwire"
AGENT_SOCKET = "/run/podwire/agent.sock"
SETTINGS = "/etc/podwire/podwire.toml"
CONFLIST = f"{containerd.CNI_CONF_DIR}/{installation.CONFIGURATION}"


def settings(layout: Layout, plan: NodePlan) -> str:
    """A node's file for the agent (TOML): itself, the cluster, and every other node as a peer."""
    wish = layout.wish
    lines = [
        f"name = {json.dumps(plan.name)}",
        *_place(plan),
        f"cluster_ranges = {json.dumps(layout.cluster)}",
        f"mode = {json.dumps(wish.mode)}",
        "",
        "[tunnel]",
        f"when = {json.dumps(wish.tunnel)}",
    ]
    for peer in layout.nodes:
        if peer is not plan:
            lines += ["", "[[peers]]", f"name = {json.dumps(peer.name)}", *_place(peer)]
    return "\n".join(lines) + "\n"


def _place(plan: NodePlan) -> list[str]:
    # A JSON list of strings is a TOML one, too.
    return [f"addresses = {json.dumps(plan.addresses)}", f"pod_ranges = {json.dumps(plan.pod_ranges)}"]


def install(node: Node) -> None:
    """Put the plug-in where the runtime looks; the network's configuration is for the agent to write.

    Raises InstallationError.
    """
    folder = node.path(containerd.CNI_BIN_DIR)
    if not installation.SHIM.is_file():
        raise installation.InstallationError(f"{installation.SHIM} is missing: build it with `make build`")
    binary = installation.stamped(installation.SHIM.read_bytes(), installation.oneshot_argv())
    for name in installation.NAMES:
        installation.write_whole(folder / name, binary, 0o755)
    node.link_program(Path(programs.podwire_argv()[0]))


def agent(*options: str) -> Service:
    """The podwire agent as a service."""
    return Service(AGENT, (*programs.podwire_argv(), "agent", "--socket", AGENT_SOCKET, *options))


def start_agent(node: Node, *options: str) -> None:
    """Start the agent and wait until it serves; raises NodeError with the end of its log."""
    node.serve(agent(*options))
    node.wait_for(lambda: node.path(AGENT_SOCKET).exists(), AGENT)
