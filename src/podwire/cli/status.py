# SPDX-License-Identifier: Apache-2.0
"""`podwire status`: shows the nodes, the paths to them and this node's pods.

Pods and paths are read from the kernel; the agent adds the names of the nodes and the last errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podwire.cli.install import SOCKET

if TYPE_CHECKING:
    from rich.console import Console

    from podwire.attachments.read import ShownAttachment
    from podwire.datapath.peer import PeerRoutes
    from podwire.observe.status import AgentState

ANSWER_SECONDS = 5.0
WIDTH_OF_FILES = 200
NARROW = 72
NODE_COLUMNS = ("NODE", "ADDRESS", "PODS", "PATH", "VIA", "VERSION")
POD_COLUMNS = ("IP", "POD", "NETWORK", "CONTAINER", "INTERFACE", "DEVICE", "SINCE")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add = parser.add_argument
    add("-o", "--output", choices=("table", "json"), default="table", help="output format (default: table)")
    add("--socket", type=Path, default=SOCKET, metavar="PATH", help="the agent's socket (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Print the status; returns the exit status."""
    from podwire.attachments.read import read_attachments
    from podwire.datapath.peers import read_peer_routes
    from podwire.netlink.socket import Netlink

    agent, no_answer = _query(getattr(options, "socket", SOCKET))
    with Netlink() as socket:
        pods, paths = read_attachments(socket), read_peer_routes(socket)
    nodes = _nodes(agent, paths)
    if getattr(options, "output", "table") == "json":
        _print_json(agent, no_answer, nodes, pods)
    else:
        _print(agent, no_answer, nodes, pods)
    return 0


def _query(path: Path) -> tuple[AgentState | None, str]:
    """The agent's state, or why it does not answer."""
    import msgspec

    from podwire.agent import protocol
    from podwire.observe.status import STATUS, AgentState

    try:
        return msgspec.json.decode(protocol.query(path, STATUS, ANSWER_SECONDS), type=AgentState), ""
    except (FileNotFoundError, ConnectionRefusedError):
        return None, f"no agent serves {path}: start `podwire agent`, or name its --socket"
    except PermissionError:
        raise
    except (OSError, protocol.ProtocolError, msgspec.MsgspecError) as error:
        return None, f"the agent at {path} does not answer: {error}: read its log, or restart it"


def _nodes(agent: AgentState | None, paths: PeerRoutes) -> list[dict[str, Any]]:
    """A row for each node that the agent knows, then a row for each pod CIDR to which only the kernel has a route."""
    from msgspec.structs import asdict

    from podwire.datapath.vxlan import VXLAN_DEVICE

    paths_by_cidr = {
        str(network): {
            "range": str(network),
            "path": "vxlan" if route.device in VXLAN_DEVICE.values() else "direct",
            "via": str(route.via),
            "device": route.device,
        }
        for network, route in paths.routes.items()
    }
    rows = []
    for node in agent.nodes if agent else []:
        row = asdict(node)
        own = agent is not None and node.name == agent.node
        found = []
        for cidr in row.pop("pod_cidrs"):
            no_path = {"range": cidr, "path": "local" if own else "none", "via": "", "device": ""}
            found.append(no_path if own else paths_by_cidr.pop(cidr, no_path))
        rows.append({"name": node.name, "own": own, **row, "paths": found})
    unknown = {"name": "", "own": False, "addresses": [], "version": "", "problem": "", "last_change": ""}
    return rows + [{**unknown, "paths": [path]} for path in paths_by_cidr.values()]


def _print_json(
    agent: AgentState | None, no_answer: str, nodes: list[dict[str, Any]], pods: list[ShownAttachment]
) -> None:
    import msgspec

    state = {key: value for key, value in msgspec.to_builtins(agent).items() if key != "nodes"} if agent else None
    found = {"agent": state, "agent_problem": no_answer, "nodes": nodes, "pods": msgspec.to_builtins(pods)}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")


def _print(agent: AgentState | None, no_answer: str, nodes: list[dict[str, Any]], pods: list[ShownAttachment]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    for line in _about(agent) if agent else [no_answer]:
        console.print(Text(line))
    if nodes:
        _print_table(console, NODE_COLUMNS, [_node_cells(node) for node in nodes])
        for node in nodes:
            for words in filter(None, (node["problem"], node["last_change"])):
                console.print(Text(f"node {node['name']}: {words}"))
    if not pods:
        console.print("\nno pods of podwire on this node")
        return
    rows = [
        (" ".join(pod.addresses), pod.pod, pod.network, pod.container_id[:13], pod.ifname, pod.device, pod.since)
        for pod in pods
    ]
    _print_table(console, POD_COLUMNS, rows)


def _node_cells(node: dict[str, Any]) -> Sequence[str]:
    paths = node["paths"]
    return (
        f"{node['name']} *" if node["own"] else node["name"],
        " ".join(node["addresses"]),
        " ".join(path["range"] for path in paths),
        " ".join(dict.fromkeys(path["path"] for path in paths)),
        " ".join(dict.fromkeys(_via(path) for path in paths if path["via"])),
        node["version"],
    )


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; on a narrow terminal a paragraph for each row, so that nothing is truncated."""
    from rich.table import Table
    from rich.text import Text

    console.print()
    if console.width < NARROW:
        for row in rows:
            for position, (column, cell) in enumerate(zip(columns, row, strict=True)):
                console.print(Text(f"{'  ' if position else ''}{column.lower()} {cell or '-'}"))
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell or "-") for cell in row))
    console.print(table)


def _via(path: dict[str, Any]) -> str:
    return f"{path['via']}%{path['device']}" if path["path"] == "direct" else str(path["device"])


def _about(agent: AgentState) -> list[str]:
    """The agent's lines: version, readiness, settings source, last errors."""
    ready = "ready" if agent.ready else "NOT READY"
    lines = [f"agent {agent.version} (pid {agent.pid}) since {agent.since}, {ready}"]
    if agent.reason:
        lines.append(f"  {agent.reason}")
    answered = f", last answer {agent.silent_seconds:.0f} s ago" if agent.silent_seconds is not None else ""
    none = "none: pods of this node only (set --config or --kubernetes)"
    lines.append(f"settings: {agent.source}{answered}" if agent.source else f"settings: {none}")
    lines += [f"unreachable: {words}" for words in agent.problems]
    for failure in agent.failures:
        about = "API server" if failure.about == "kubernetes" else failure.about
        lines.append(f"last error ({about}) {failure.time}: {failure.words}")
    if agent.dropped_lines:
        lines.append(f"{agent.dropped_lines} lines of the log were dropped: its standard error is not read")
    return lines
