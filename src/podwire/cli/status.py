"""`podwire status`: the cluster as this node has it, and this node's pods.

Pods and paths are read from the kernel; which node a path leads to, and what failed, is the agent's to tell.
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
    from podwire.datapath.peer_routes import Paths
    from podwire.observe.status import AgentState

ANSWER_SECONDS = 5.0
WIDTH_OF_FILES = 200
NARROW = 72
NODE_COLUMNS = ("NODE", "ADDRESS", "PODS", "PATH", "VIA", "VERSION")
POD_COLUMNS = ("IP", "POD", "NETWORK", "CONTAINER", "INTERFACE", "DEVICE", "SINCE")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="for people or for scripts (default: table)"
    )
    parser.add_argument(
        "--socket", type=Path, default=SOCKET, metavar="PATH", help="the agent to ask (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Print; the exit status."""
    from podwire.attachments.read import read_attachments
    from podwire.datapath.peer_routes_read import read_paths
    from podwire.netlink.socket import Netlink

    agent, why_not = _ask(getattr(options, "socket", SOCKET))
    with Netlink() as socket:
        pods, paths = read_attachments(socket), read_paths(socket)
    nodes = _nodes(agent, paths)
    if getattr(options, "output", "table") == "json":
        _print_json(agent, why_not, nodes, pods)
    else:
        _print(agent, why_not, nodes, pods)
    return 0


def _ask(path: Path) -> tuple[AgentState | None, str]:
    """What the agent says, or why it says nothing."""
    import msgspec

    from podwire.agent import protocol
    from podwire.observe.status import AgentState

    try:
        return msgspec.json.decode(protocol.ask(path, protocol.STATUS, ANSWER_SECONDS), type=AgentState), ""
    except (FileNotFoundError, ConnectionRefusedError):
        return None, f"no agent serves {path}: start `podwire agent`, or name its --socket"
    except PermissionError:
        raise
    except (OSError, protocol.ProtocolError, msgspec.MsgspecError) as wrong:
        return None, f"the agent at {path} does not answer: {wrong}: look at its log, or restart it"


def _nodes(agent: AgentState | None, paths: Paths) -> list[dict[str, Any]]:
    """A row for every node that the agent knows, then one for each range that only the kernel has a route to."""
    from podwire.datapath.peer_routes import VXLAN_DEVICE

    ways = {
        str(network): {
            "range": str(network),
            "path": "vxlan" if route.device in VXLAN_DEVICE.values() else "direct",
            "via": str(route.via),
            "device": route.device,
        }
        for network, route in paths.routes.items()
    }
    rows = []
    for one in agent.nodes if agent else []:
        own = agent is not None and one.name == agent.node
        nothing = {"path": "local" if own else "none", "via": "", "device": ""}
        found = [
            {"range": each, **nothing} if own else ways.pop(each, {"range": each, **nothing}) for each in one.pod_ranges
        ]
        rows.append(
            {
                "name": one.name,
                "own": own,
                "addresses": list(one.addresses),
                "version": one.version,
                "paths": found,
                "problem": one.problem,
                "news": one.news,
            }
        )
    nobody = {"name": "", "own": False, "addresses": [], "version": "", "problem": "", "news": ""}
    return rows + [{**nobody, "paths": [way]} for way in ways.values()]


def _print_json(
    agent: AgentState | None, why_not: str, nodes: list[dict[str, Any]], pods: list[ShownAttachment]
) -> None:
    import msgspec

    told = {key: value for key, value in msgspec.to_builtins(agent).items() if key != "nodes"} if agent else None
    found = {"agent": told, "agent_problem": why_not, "nodes": nodes, "pods": msgspec.to_builtins(pods)}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")


def _print(agent: AgentState | None, why_not: str, nodes: list[dict[str, Any]], pods: list[ShownAttachment]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
    for line in _about(agent) if agent else [why_not]:
        console.print(Text(line))
    if nodes:
        _print_table(console, NODE_COLUMNS, [_node_cells(one) for one in nodes])
        for one in nodes:
            for words in filter(None, (one["problem"], one["news"])):
                console.print(Text(f"node {one['name']}: {words}"))
    if not pods:
        console.print("\nno pods are wired by podwire on this node")
        return
    rows = [
        (" ".join(one.addresses), one.pod, one.network, one.container_id[:13], one.ifname, one.device, one.since)
        for one in pods
    ]
    _print_table(console, POD_COLUMNS, rows)


def _node_cells(one: dict[str, Any]) -> Sequence[str]:
    ranges = one["paths"]
    return (
        f"{one['name']} *" if one["own"] else one["name"],
        " ".join(one["addresses"]),
        " ".join(each["range"] for each in ranges),
        " ".join(dict.fromkeys(each["path"] for each in ranges)),
        " ".join(dict.fromkeys(_via(each) for each in ranges if each["via"])),
        one["version"],
    )


def _print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table; where a terminal is too narrow for one, a paragraph for each row. Nothing is cut away."""
    from rich.table import Table
    from rich.text import Text

    console.print()
    if console.width < NARROW:
        for row in rows:
            for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
                console.print(Text(f"{'  ' if place else ''}{column.lower()} {cell or '-'}"))
        return
    table = Table(box=None, pad_edge=False)
    for one in columns:
        table.add_column(one, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell or "-") for cell in row))
    console.print(table)


def _via(path: dict[str, Any]) -> str:
    return f"{path['via']}%{path['device']}" if path["path"] == "direct" else str(path["device"])


def _about(agent: AgentState) -> list[str]:
    """The agent in some lines: what it is, whether it can serve, what failed last."""
    lines = [
        f"agent {agent.version} (pid {agent.pid}) since {agent.since}, " + ("ready" if agent.ready else "NOT READY")
    ]
    if agent.reason:
        lines.append(f"  {agent.reason}")
    if agent.source:
        heard = f", last heard {agent.silent_seconds:.0f} s ago" if agent.silent_seconds is not None else ""
        lines.append(f"settings: {agent.source}{heard}")
    else:
        lines.append("settings: none: it wires pods of this node only (--config, --kubernetes)")
    lines += [f"unreachable: {words}" for words in agent.problems]
    names = {"call": "call", "node": "node", "kubernetes": "API server"}
    lines += [f"last error ({names.get(one.about, one.about)}) {one.time}: {one.words}" for one in agent.failures]
    if agent.dropped_lines:
        lines.append(f"{agent.dropped_lines} lines of the log were dropped: nobody reads its standard error")
    return lines
