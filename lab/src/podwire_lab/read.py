"""What a lab is at this moment: its hosts and pods, read from namespaces, containerds and agents' files."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from podwire_lab import containerd, netns, network, node, programs, service
from podwire_lab.command import CommandError
from podwire_lab.cri import Cri, addresses_in
from podwire_lab.kubernetes.kubeadm import KUBELET, read_addresses
from podwire_lab.layout import INTERNET, ROUTER
from podwire_lab.node import Node, NodeError
from podwire_lab.place import Place

Answer = TypeVar("Answer")
HOST_NETWORK = 2
"""NODE, of CRI's NamespaceMode."""


class NoLabError(LookupError):
    """There is no such lab, or no such host or pod in it: one line that says what there is."""


@dataclass(frozen=True)
class RunningPod:
    """A pod, as its node's containerd tells of it. `netns` is a file that opens on the machine, too."""

    name: str
    node: str
    state: str
    image: str
    container: str
    addresses: tuple[str, ...]
    netns: str

    @property
    def runs(self) -> bool:
        """Whether its sandbox and its container are there."""
        return self.state == "running"


@dataclass(frozen=True)
class RunningNode:
    """A node with its pods. `services` are those that it should run, and whether they do."""

    name: str
    runs: bool
    settings: dict[str, Any]
    services: dict[str, bool]
    pods: tuple[RunningPod, ...]
    trouble: str = ""

    @property
    def addresses(self) -> list[str]:
        """On the underlay."""
        return list(self.settings.get("addresses", []))

    @property
    def pod_ranges(self) -> list[str]:
        """Its share of the cluster's ranges."""
        return list(self.settings.get("pod_ranges", []))


@dataclass(frozen=True)
class RunningLab:
    """A whole lab. `others` are its hosts that are no nodes, with their addresses."""

    name: str
    nodes: tuple[RunningNode, ...]
    others: dict[str, list[str]]

    @property
    def pods(self) -> list[RunningPod]:
        """All nodes' pods."""
        return [pod for each in self.nodes for pod in each.pods]


def labs() -> list[str]:
    """The names of all labs of which anything is there."""
    return sorted({place.lab for place in node.read_all_places()})


def places(name: str) -> list[Place]:
    """The hosts of a lab; raises NoLabError."""
    found = node.read_places(name)
    if not found:
        there = ", ".join(labs())
        raise NoLabError(f"there is no lab {name}{f' (but {there})' if there else ''}: `podwire lab up` makes one")
    return found


def is_node(place: Place) -> bool:
    """Whether it has a containerd and an agent, or is a network alone."""
    return place.node not in (ROUTER, INTERNET)


def lab(name: str) -> RunningLab:
    """A lab as it is now, however broken; raises NoLabError."""
    found = places(name)
    nodes = tuple(_of_all(_node, [place for place in found if is_node(place)]))
    return RunningLab(name, nodes, {place.node: _addresses(place) for place in found if not is_node(place)})


def is_cluster(name: str) -> bool:
    """Whether a lab's nodes are those of a Kubernetes cluster."""
    return any(KUBELET in service.read_services(place.folder) for place in node.read_places(name))


def containers(name: str) -> dict[str, tuple[Place, str]]:
    """The running containers of a lab by their pods' names: their node, and their id. Raises NoLabError."""
    nodes = [place for place in places(name) if is_node(place)]
    return {pod: (place, one) for place, of in zip(nodes, _of_all(_containers, nodes), strict=True) for pod, one in of}


def _of_all(look: Callable[[Place], Answer], nodes: list[Place]) -> list[Answer]:
    """All nodes are asked at once."""
    with ThreadPoolExecutor(len(nodes) or 1) as workers:
        return list(workers.map(look, nodes))


def _containers(place: Place) -> list[tuple[str, str]]:
    with suppress(NodeError, CommandError):
        items = Cri(Node(place), programs.find("crictl")).ask("ps").get("containers") or []
        return [(_name(each), each["id"]) for each in items]
    return []


def _addresses(place: Place) -> list[str]:
    with suppress(CommandError):
        return netns.addresses(place)
    return []


def _node(place: Place) -> RunningNode:
    here = Node(place)
    settings: dict[str, Any] = {}
    try:
        wanted = service.read_services(place.folder)
        settings = _settings_of_cluster(here, wanted[KUBELET]) if KUBELET in wanted else _settings(here)
        names = (KUBELET if KUBELET in wanted else network.AGENT, containerd.NAME)
        services = {name: here.service_runs(name) for name in names}
        cri = Cri(here, programs.find("crictl"))
        pods = tuple(sorted(_pods(cri), key=lambda pod: pod.name)) if services[containerd.NAME] else ()
        if KUBELET in wanted:  # sandboxes of pods that have ended are the kubelet's to clear away, in its own time
            pods = tuple(pod for pod in pods if pod.netns)
    except (NodeError, CommandError, OSError) as broken:
        return RunningNode(place.node, here.runs, settings, {}, (), str(broken))
    return RunningNode(place.node, True, settings, services, pods)


def _settings(here: Node) -> dict[str, Any]:
    """The file of the node's agent."""
    with suppress(FileNotFoundError, tomllib.TOMLDecodeError):
        return tomllib.loads(here.path(network.SETTINGS).read_text())
    return {}


def _settings_of_cluster(here: Node, kubelet: service.Service) -> dict[str, Any]:
    """What that file would say: the kubelet's addresses, and what the agent wrote into the runtime's configuration."""
    settings: dict[str, Any] = {"addresses": read_addresses(kubelet.argv)}
    with suppress(FileNotFoundError, json.JSONDecodeError):
        plugin = json.loads(here.path(network.CONFLIST).read_text())["plugins"][0]
        settings |= {"pod_ranges": plugin["subnet"].split(","), "mode": plugin["mode"]}
    return settings


def _pods(cri: Cri) -> Iterable[RunningPod]:
    """The pods of a node that have a network of their own, with their newest container each.

    Of a pod that was begun more than once only the newest sandbox counts: the others wait to be cleared away.
    """
    containers = {each["podSandboxId"]: each for each in reversed(cri.ask("ps", "--all").get("containers") or [])}
    newest: dict[str, dict[str, Any]] = {}
    for item in sorted(cri.ask("pods").get("items") or [], key=lambda item: int(item["createdAt"])):
        newest[_name(item)] = item
    for item, told in zip(newest.values(), cri.inspect_pods([one["id"] for one in newest.values()]), strict=True):
        if _on_host_network(told["status"]):
            continue
        container = containers.get(item["id"], {})
        ready = item["state"] == "SANDBOX_READY"
        yield RunningPod(
            name=_name(item),
            node=cri.node.place.node,
            state=_word(container.get("state", "no container") if ready else item["state"]),
            image=container.get("image", {}).get("image", ""),
            container=container.get("id", ""),
            addresses=addresses_in(told["status"]),
            netns=str(_netns(cri.node, told["info"])) if ready else "",
        )


def _name(item: dict[str, Any]) -> str:
    """A pod's name, of a pod or a container as the runtime tells of it; with its namespace if that is not `default`."""
    labels = item.get("labels") or {}
    name = labels.get("io.kubernetes.pod.name") or item["metadata"]["name"]
    namespace = labels.get("io.kubernetes.pod.namespace") or item["metadata"].get("namespace") or "default"
    return str(name) if namespace == "default" else f"{namespace}/{name}"


def _on_host_network(status: dict[str, Any]) -> bool:
    options = ((status.get("linux") or {}).get("namespaces") or {}).get("options") or {}
    return options.get("network") in ("NODE", HOST_NETWORK)


def _word(state: str) -> str:
    """`CONTAINER_RUNNING` in a person's words."""
    return state.removeprefix("CONTAINER_").removeprefix("SANDBOX_").lower()


def _netns(where: Node, info: dict[str, Any]) -> Path:
    """The pod's network namespace as a file that can be opened from the machine."""
    namespaces = info["runtimeSpec"]["linux"]["namespaces"]
    inside = next(each["path"] for each in namespaces if each["type"] == "network")
    # /var/run is a link to an absolute path, which would lead to the machine's own.
    return where.path(inside.replace("/var/run/", "/run/", 1))
