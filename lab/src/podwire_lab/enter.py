# SPDX-License-Identifier: Apache-2.0
"""Command lines that run a command on a host of a lab or in a pod."""

from __future__ import annotations

import secrets

from podwire_lab import netns, read, runtime
from podwire_lab.kubernetes.client import Kubectl
from podwire_lab.lab_host import LabHost
from podwire_lab.layout import FIRST
from podwire_lab.node import Node
from podwire_lab.read import NoLabError

SHELL = ("sh", "-c", "command -v bash >/dev/null && exec bash; exec sh")


def argv(lab: str, where: str, command: list[str], *, terminal: bool) -> list[str]:
    """The command line that runs `command` on a host or in a pod, with the command's exit status.

    Raises NoLabError if there is no such host or pod, NodeError if its node does not run.
    """
    wanted = command or list(SHELL)
    hosts = {host.node: host for host in read.hosts(lab)}
    if where in hosts:
        if read.is_node(hosts[where]):
            return Node(hosts[where]).argv(*wanted)
        return netns.argv(hosts[where], *wanted)
    pods = read.containers(lab)
    if where not in pods:
        raise NoLabError(f"lab {lab} has no host or pod {where!r}: it has {', '.join([*hosts, *pods])}")
    return in_container(*pods[where], wanted, terminal=terminal)


def kubectl_argv(lab: str, arguments: list[str]) -> list[str]:
    """The command line of kubectl for the cluster, as its administrator.

    Raises NoLabError if the lab is not a Kubernetes cluster, NodeError if its first node does not run.
    """
    first = next((host for host in read.hosts(lab) if host.node == FIRST), None)
    if first is None or not read.is_cluster(lab):
        raise NoLabError(f"lab {lab} is not a Kubernetes cluster: `podwire lab up --kubernetes` builds one")
    return Kubectl(Node(first)).argv(*arguments)


def in_container(host: LabHost, container: str, command: list[str], *, terminal: bool) -> list[str]:
    """The command line that runs a command in a container, by ctr: crictl does not return its exit status."""
    node = Node(host)
    tty = ["--tty"] if terminal else []
    run_id = f"lab-{secrets.token_hex(6)}"  # unique in this container
    client = runtime.of_node(node).ctr("tasks", "exec", *tty, "--exec-id", run_id, container, *command)
    return node.argv(*client)
