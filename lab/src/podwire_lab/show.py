# SPDX-License-Identifier: Apache-2.0
"""Prints the state of a lab as tables, and converts it for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from podwire_lab.read import RunningLab, RunningNode


def as_data(lab: RunningLab) -> dict[str, Any]:
    """The state of a lab for JSON."""
    return {"name": lab.name, "nodes": [_node_data(node) for node in lab.nodes], "others": lab.others}


def _node_data(node: RunningNode) -> dict[str, Any]:
    own = {key: value for key, value in vars(node).items() if key not in ("settings", "pods")}
    return {
        **own,
        "addresses": node.addresses,
        "pod_cidrs": node.pod_cidrs,
        "mode": node.settings.get("mode"),
        "tunnel": node.settings.get("tunnel", {}).get("when"),
        "pods": [vars(pod) for pod in node.pods],
    }


def tables(lab: RunningLab) -> Group:
    """The tables of a lab's hosts and pods."""
    hosts = Table("HOST", "ADDRESSES", "POD CIDRS", "MODE", "RUNS", box=None, pad_edge=False)
    for node in lab.nodes:
        hosts.add_row(
            f"[bold]{node.name}[/]",
            " ".join(node.addresses) or "-",
            " ".join(node.pod_cidrs) or "-",
            node.settings.get("mode", "-"),
            _services(node),
        )
    for name, addresses in sorted(lab.others.items()):
        hosts.add_row(f"[bold]{name}[/]", " ".join(addresses) or "-", "-", "-", "")
    pods = Table("POD", "NODE", "ADDRESSES", "STATE", "IMAGE", box=None, pad_edge=False)
    for pod in lab.pods:
        state = f"[green]{pod.state}[/]" if pod.runs else f"[red]{escape(pod.state)}[/]"
        row = (" ".join(pod.addresses) or "-", state, escape(pod.image))
        pods.add_row(f"[bold]{escape(pod.name)}[/]", pod.node, *row)
    return Group(f"[bold]lab {lab.name}[/]", hosts, "", pods if lab.pods else "no pods")


def _services(node: RunningNode) -> str:
    if not node.runs:
        return "[red]does not run[/]"
    words = [name if runs else f"[red]{name} does not run[/]" for name, runs in node.services.items()]
    return ", ".join([*words, *_error_text(node)])


def _error_text(node: RunningNode) -> Iterable[str]:
    if node.error:
        yield f"[red]{escape(node.error.splitlines()[0])}[/]"
