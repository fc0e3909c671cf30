"""What a lab is at this moment: its hosts and pods, read from namespaces, containerds and agents' files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from podwire.lab import containerd, netns, network, node, programs
from podwire.lab.command import CommandError
from podwire.lab.cri import Cri, addresses_in
from podwire.lab.layout import INTERNET, ROUTER
from podwire.lab.node import Node, NodeError
from podwire.lab.place import Place

Answer = TypeVar("Answer")


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
        return [(each["metadata"]["name"], each["id"]) for each in items]
    return []


def _addresses(place: Place) -> list[str]:
    with suppress(CommandError):
        return netns.addresses(place)
    return []


def _node(place: Place) -> RunningNode:
    here = Node(place)
    settings: dict[str, Any] = {}
    try:
        with suppress(FileNotFoundError, tomllib.TOMLDecodeError):
            settings = tomllib.loads(here.path(network.SETTINGS).read_text())
        services = {name: here.service_runs(name) for name in (network.AGENT, containerd.NAME)}
        cri = Cri(here, programs.find("crictl"))
        pods = tuple(sorted(_pods(cri), key=lambda pod: pod.name)) if services[containerd.NAME] else ()
    except (NodeError, CommandError, OSError) as broken:
        return RunningNode(place.node, here.runs, settings, {}, (), str(broken))
    return RunningNode(place.node, True, settings, services, pods)


def _pods(cri: Cri) -> Iterable[RunningPod]:
    """The pods of a node with their newest container each."""
    containers = {each["podSandboxId"]: each for each in reversed(cri.ask("ps", "--all").get("containers") or [])}
    items = cri.ask("pods").get("items") or []
    for item, told in zip(items, cri.inspect_pods([item["id"] for item in items]), strict=True):
        container = containers.get(item["id"], {})
        ready = item["state"] == "SANDBOX_READY"
        yield RunningPod(
            name=item["metadata"]["name"],
            node=cri.node.place.node,
            state=_word(container.get("state", "no container") if ready else item["state"]),
            image=container.get("image", {}).get("image", ""),
            container=container.get("id", ""),
            addresses=addresses_in(told["status"]),
            netns=str(_netns(cri.node, told["info"])) if ready else "",
        )


def _word(state: str) -> str:
    """`CONTAINER_RUNNING` in a person's words."""
    return state.removeprefix("CONTAINER_").removeprefix("SANDBOX_").lower()


def _netns(where: Node, info: dict[str, Any]) -> Path:
    """The pod's network namespace as a file that can be opened from the machine."""
    namespaces = info["runtimeSpec"]["linux"]["namespaces"]
    inside = next(each["path"] for each in namespaces if each["type"] == "network")
    # /var/run is a link to an absolute path, which would lead to the machine's own.
    return where.path(inside.replace("/var/run/", "/run/", 1))
