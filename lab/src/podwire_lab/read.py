# SPDX-License-Identifier: Apache-2.0
"""Reads the state of a lab: its hosts and pods, from namespaces, containerds and the agents' settings."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from podwire.record import Record
from podwire_lab import containerd, netns, network, node, programs, service
from podwire_lab.command import CommandError
from podwire_lab.cri import Cri, addresses_in
from podwire_lab.kubernetes.kubeadm import KUBELET, read_addresses
from podwire_lab.lab_host import LabHost
from podwire_lab.layout import INTERNET, ROUTER
from podwire_lab.node import Node, NodeError

Answer = TypeVar("Answer")
HOST_NETWORK = 2
"""NODE, of CRI's NamespaceMode."""


class NoLabError(LookupError):
    """The lab, or a host or pod of it, does not exist; the message names those that exist."""


class RunningPod(Record):
    """A pod as its node's containerd reports it. `netns` is a path on the machine."""

    name: str
    node: str
    state: str
    image: str
    container: str
    addresses: tuple[str, ...]
    netns: str

    @property
    def runs(self) -> bool:
        """Whether its sandbox and its container run."""
        return self.state == "running"


class RunningNode(Record):
    """A node with its pods. `services` says for each service whether it runs."""

    name: str
    runs: bool
    settings: dict[str, Any]
    services: dict[str, bool]
    pods: tuple[RunningPod, ...]
    error: str = ""

    @property
    def addresses(self) -> list[str]:
        """The node's addresses on the underlay."""
        return list(self.settings.get("addresses", []))

    @property
    def pod_cidrs(self) -> list[str]:
        """The node's pod CIDRs."""
        return list(self.settings.get("pod_cidrs", []))


class RunningLab(Record):
    """A lab. `others` are the addresses of the hosts that are not nodes, by name."""

    name: str
    nodes: tuple[RunningNode, ...]
    others: dict[str, list[str]]

    @property
    def pods(self) -> list[RunningPod]:
        """The pods of all nodes."""
        return [pod for node in self.nodes for pod in node.pods]


def labs() -> list[str]:
    """The names of all labs, also incomplete ones."""
    return sorted({host.lab for host in node.read_all_hosts()})


def hosts(name: str) -> list[LabHost]:
    """The hosts of a lab; raises NoLabError."""
    found = node.read_hosts(name)
    if not found:
        existing = ", ".join(labs())
        raise NoLabError(
            f"there is no lab {name}{f' (existing: {existing})' if existing else ''}: `podwire lab up` builds a lab"
        )
    return found


def is_node(host: LabHost) -> bool:
    """Whether a host is a node with a containerd and an agent; the router and the internet are not."""
    return host.node not in (ROUTER, INTERNET)


def lab(name: str) -> RunningLab:
    """The state of a lab, also of an incomplete one; raises NoLabError."""
    found = hosts(name)
    nodes = tuple(_of_all(_node, [host for host in found if is_node(host)]))
    return RunningLab(name, nodes, {host.node: _addresses(host) for host in found if not is_node(host)})


def is_cluster(name: str) -> bool:
    """Whether a lab is a Kubernetes cluster."""
    return any(KUBELET in service.read_services(host.folder) for host in node.read_hosts(name))


def containers(name: str) -> dict[str, tuple[LabHost, str]]:
    """The running containers of a lab by pod name: node and container ID. Raises NoLabError."""
    nodes = [host for host in hosts(name) if is_node(host)]
    return {
        pod: (host, id_) for host, found in zip(nodes, _of_all(_containers, nodes), strict=True) for pod, id_ in found
    }


def _of_all(look: Callable[[LabHost], Answer], nodes: list[LabHost]) -> list[Answer]:
    """Call `look` for all nodes in parallel."""
    with ThreadPoolExecutor(len(nodes) or 1) as workers:
        return list(workers.map(look, nodes))


def _containers(host: LabHost) -> list[tuple[str, str]]:
    with suppress(NodeError, CommandError):
        items = Cri(Node(host), programs.find("crictl")).query("ps").get("containers") or []
        return [(_name(item), item["id"]) for item in items]
    return []


def _addresses(host: LabHost) -> list[str]:
    with suppress(CommandError):
        return netns.addresses(host)
    return []


def _node(host: LabHost) -> RunningNode:
    here = Node(host)
    settings: dict[str, Any] = {}
    try:
        wanted = service.read_services(host.folder)
        settings = _settings_of_cluster(here, wanted[KUBELET]) if KUBELET in wanted else _settings(here)
        names = (KUBELET if KUBELET in wanted else network.AGENT, containerd.NAME)
        services = {name: here.service_runs(name) for name in names}
        cri = Cri(here, programs.find("crictl"))
        pods = tuple(sorted(_pods(cri), key=lambda pod: pod.name)) if services[containerd.NAME] else ()
        if KUBELET in wanted:  # the kubelet removes the sandboxes of ended pods later
            pods = tuple(pod for pod in pods if pod.netns)
    except (NodeError, CommandError, OSError) as error:
        return RunningNode(host.node, here.runs, settings, {}, (), str(error))
    return RunningNode(host.node, True, settings, services, pods)


def _settings(here: Node) -> dict[str, Any]:
    """The settings of the node's agent."""
    with suppress(FileNotFoundError, tomllib.TOMLDecodeError):
        return tomllib.loads(here.path(network.SETTINGS).read_text())
    return {}


def _settings_of_cluster(here: Node, kubelet: service.Service) -> dict[str, Any]:
    """The same settings on a cluster node: from the kubelet's arguments and the CNI configuration of the agent."""
    settings: dict[str, Any] = {"addresses": read_addresses(kubelet.argv)}
    with suppress(FileNotFoundError, json.JSONDecodeError):
        plugin = json.loads(here.path(network.CONFLIST).read_text())["plugins"][0]
        settings |= {"pod_cidrs": plugin["subnet"].split(","), "mode": plugin["mode"]}
    return settings


def _pods(cri: Cri) -> Iterable[RunningPod]:
    """The pods of a node that have their own network, with their newest container.

    If a pod has several sandboxes, only the newest counts: the kubelet removes the others.
    """
    containers = {item["podSandboxId"]: item for item in reversed(cri.query("ps", "--all").get("containers") or [])}
    newest: dict[str, dict[str, Any]] = {}
    for item in sorted(cri.query("pods").get("items") or [], key=lambda item: int(item["createdAt"])):
        newest[_name(item)] = item
    for item, state in zip(newest.values(), cri.inspect_pods([pod["id"] for pod in newest.values()]), strict=True):
        if _on_host_network(state["status"]):
            continue
        container = containers.get(item["id"], {})
        ready = item["state"] == "SANDBOX_READY"
        yield RunningPod(
            name=_name(item),
            node=cri.node.host.node,
            state=_word(container.get("state", "no container") if ready else item["state"]),
            image=container.get("image", {}).get("image", ""),
            container=container.get("id", ""),
            addresses=addresses_in(state["status"]),
            netns=str(_netns(cri.node, state["info"])) if ready else "",
        )


def _name(item: dict[str, Any]) -> str:
    """The pod name of a pod or container; with its namespace unless that is `default`."""
    labels = item.get("labels") or {}
    name = labels.get("io.kubernetes.pod.name") or item["metadata"]["name"]
    namespace = labels.get("io.kubernetes.pod.namespace") or item["metadata"].get("namespace") or "default"
    return str(name) if namespace == "default" else f"{namespace}/{name}"


def _on_host_network(status: dict[str, Any]) -> bool:
    options = ((status.get("linux") or {}).get("namespaces") or {}).get("options") or {}
    return options.get("network") in ("NODE", HOST_NETWORK)


def _word(state: str) -> str:
    """The state in lower case without its prefix: `CONTAINER_RUNNING` is "running"."""
    return state.removeprefix("CONTAINER_").removeprefix("SANDBOX_").lower()


def _netns(where: Node, info: dict[str, Any]) -> Path:
    """The path on the machine of the pod's network namespace."""
    namespaces = info["runtimeSpec"]["linux"]["namespaces"]
    inside = next(namespace["path"] for namespace in namespaces if namespace["type"] == "network")
    # /var/run is an absolute link, which the machine would resolve to its own /run.
    return where.path(inside.replace("/var/run/", "/run/", 1))
