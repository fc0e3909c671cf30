"""Kubernetes' objects, with those of their fields alone that are read here; msgspec skips the rest undecoded."""

from __future__ import annotations

import sys

from msgspec import Raw, Struct, field

VERSION_ANNOTATION = "podwire.dev/version"


class Annotations(Struct):
    """Of a Node's annotations the one that is podwire's: its agent's version."""

    version: str = field(default="", name=VERSION_ANNOTATION)


class NodeMeta(Struct, rename="camel"):
    """A Node's metadata."""

    name: str
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    annotations: Annotations | None = None


class NodeSpec(Struct):
    """The ranges that the controller manager gave the Node: one of each family at most."""

    pod_range: str = field(default="", name="podCIDR")
    pod_ranges: tuple[str, ...] = field(default=(), name="podCIDRs")


class NodeAddress(Struct):
    """One of a Node's addresses; its type is InternalIP, Hostname or the like."""

    type: str
    address: str


class Condition(Struct):
    """One of a Node's conditions."""

    type: str
    status: str
    reason: str = ""


class NodeStatus(Struct):
    """What the kubelet says of its Node."""

    addresses: tuple[NodeAddress, ...] | None = None
    conditions: tuple[Condition, ...] | None = None


class Node(Struct):
    """A Node as it comes from the API server: short-lived, see `Fact` for what is kept."""

    metadata: NodeMeta
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class ListMeta(Struct, rename="camel"):
    """A list's metadata: where a watch goes on from, and where the next page begins."""

    resource_version: str = ""
    next_page: str = field(default="", name="continue")


class NodeList(Struct):
    """One page of Nodes."""

    metadata: ListMeta
    items: list[Node] = []


class WatchEvent(Struct):
    """One line of a watch; of what kind the object is depends on the type."""

    type: str
    object: Raw


class Status(Struct):
    """Why the API server refused."""

    code: int = 0
    reason: str = ""
    message: str = ""


class NodeInfo(Struct, frozen=True):
    """What is kept of a Node: as little as decides about its paths, and its agent's version."""

    name: str
    born: str
    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...]
    version: str = ""


def version_of(node: Node) -> str:
    """The version of the node's agent as it told it itself; one object for all Nodes that say the same."""
    return sys.intern(node.metadata.annotations.version) if node.metadata.annotations else ""


def node_info(node: Node) -> NodeInfo:
    """The node_info in a Node: its InternalIPs (the first of each family counts for Kubernetes too) and its ranges."""
    four, six = "", ""
    for one in node.status.addresses or ():
        if one.type == "InternalIP":
            if ":" in one.address:
                six = six or one.address
            else:
                four = four or one.address
    ranges = node.spec.pod_ranges or ((node.spec.pod_range,) if node.spec.pod_range else ())
    addresses = tuple(one for one in (four, six) if one)
    return NodeInfo(node.metadata.name, node.metadata.creation_timestamp, addresses, tuple(ranges), version_of(node))


def network_is_up(node: Node, reason: str) -> bool:
    """Does the Node's condition NetworkUnavailable say False, for our reason?"""
    found = [one for one in node.status.conditions or () if one.type == "NetworkUnavailable"]
    return bool(found) and found[0].status == "False" and found[0].reason == reason
