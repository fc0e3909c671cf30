"""Runs a command in a host of a lab or in one of its pods, in place of this process."""

from __future__ import annotations

import secrets

from podwire_lab import netns, read, runtime
from podwire_lab.kubernetes.client import Kubectl
from podwire_lab.layout import FIRST
from podwire_lab.node import Node
from podwire_lab.place import Place
from podwire_lab.read import NoLabError

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")


def argv(lab: str, where: str, command: list[str], *, terminal: bool) -> list[str]:
    """The command line that does it, and ends with the command's own status.

    Raises NoLabError if there is no such host or pod, NodeError if its node does not run.
    """
    wanted = command or list(SHELL)
    places = {place.node: place for place in read.places(lab)}
    if where in places:
        if read.is_node(places[where]):
            return Node(places[where]).argv(*wanted)
        return netns.argv(places[where], *wanted)
    pods = read.containers(lab)
    if where not in pods:
        raise NoLabError(f"lab {lab} has no host or pod {where!r}: it has {', '.join([*places, *pods])}")
    return in_container(*pods[where], wanted, terminal=terminal)


def kubectl_argv(lab: str, arguments: list[str]) -> list[str]:
    """The command line of the cluster's own kubectl, as its administrator.

    Raises NoLabError if the lab is no Kubernetes cluster, NodeError if its first node does not run.
    """
    first = next((place for place in read.places(lab) if place.node == FIRST), None)
    if first is None or not read.is_cluster(lab):
        raise NoLabError(f"lab {lab} is no Kubernetes cluster: `podwire lab up --kubernetes` makes one")
    return Kubectl(Node(first)).argv(*arguments)


def in_container(place: Place, container: str, command: list[str], *, terminal: bool) -> list[str]:
    """The command line that runs a command in a container; unlike crictl, ctr hands the command's status on."""
    node = Node(place)
    tty = ["--tty"] if terminal else []
    run_id = f"lab-{secrets.token_hex(6)}"  # a name that no other command in this container has
    client = runtime.of_node(node).ctr("tasks", "exec", *tty, "--exec-id", run_id, container, *command)
    return node.argv(*client)
