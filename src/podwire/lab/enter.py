"""Runs a command in a host of a lab or in one of its pods, in place of this process."""

from __future__ import annotations

import secrets

from podwire.lab import netns, runtime
from podwire.lab.node import Node
from podwire.lab.place import Place
from podwire.lab.read import NoLabError, RunningLab

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")


def argv(lab: RunningLab, where: str, command: list[str], *, terminal: bool) -> list[str]:
    """The command line that does it, and ends with the command's own status; raises NoLabError, NodeError."""
    wanted = command or list(SHELL)
    for pod in lab.pods:
        if pod.name == where:
            node = Node(Place(lab.name, pod.node))
            tty = ["--tty"] if terminal else []
            ctr = runtime.of_node(node).ctr
            run_id = f"lab-{secrets.token_hex(6)}"  # a name that no other command in this container has
            return node.argv(*ctr("tasks", "exec", *tty, "--exec-id", run_id, pod.container, *wanted))
    if where in [node.name for node in lab.nodes]:
        return Node(Place(lab.name, where)).argv(*wanted)
    if where in lab.others:
        return netns.argv(Place(lab.name, where), *wanted)
    there = [*(node.name for node in lab.nodes), *lab.others, *(pod.name for pod in lab.pods)]
    raise NoLabError(f"lab {lab.name} has no host or pod {where!r}: it has {', '.join(there)}")
