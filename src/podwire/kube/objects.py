# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects as they come from the API server, and the slim values that are kept of them. No effects.

The wire types have only the fields that are read here; msgspec skips the others without decoding them.
"""

from __future__ import annotations

import sys
from typing import Generic, TypeVar

from msgspec import Struct, field

VERSION_ANNOTATION = "podwire.dev/version"
NETWORK_UP_REASON = "PodwireIsUp"
"""The reason of a Node's condition NetworkUnavailable=False that podwire has set."""

Wire = TypeVar("Wire")


class ObjectMeta(Struct, rename="camel"):
    """The metadata of any object; a bookmark has the resource version alone."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = ""


class BareObject(Struct):
    """An object of which only the metadata is read."""

    metadata: ObjectMeta


class ListMeta(Struct, rename="camel"):
    """The metadata of a list: the version to watch from, and where the next page begins."""

    resource_version: str = ""
    next_page: str = field(default="", name="continue")


class ObjectPage(Struct, Generic[Wire]):
    """One page of a list."""

    metadata: ListMeta
    items: list[Wire] | None = None


class WatchEvent(Struct, Generic[Wire]):
    """One line of a watch; `object` is the changed object, a Status where the type is ERROR."""

    type: str
    object: Wire


class Status(Struct):
    """Why the API server refused a request."""

    code: int = 0
    reason: str = ""
    message: str = ""


class NodeAnnotations(Struct):
    """The annotation of a Node that its agent sets."""

    version: str = field(default="", name=VERSION_ANNOTATION)


class NodeMeta(ObjectMeta, rename="camel"):
    """The metadata of a Node."""

    annotations: NodeAnnotations | None = None


class NodeSpec(Struct):
    """The pod CIDRs that the controller manager assigned to the Node: at most one of each family."""

    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = field(default=(), name="podCIDRs")


class NodeAddress(Struct):
    """An address of a Node; `type` is InternalIP, Hostname and others."""

    type: str
    address: str


class Condition(Struct):
    """A condition of a Node."""

    type: str
    status: str
    reason: str = ""


class NodeStatus(Struct):
    """What the kubelet reports of its Node."""

    addresses: tuple[NodeAddress, ...] | None = None
    conditions: tuple[Condition, ...] | None = None


class Node(Struct):
    """A Node as it comes from the API server; only its `NodeInfo` is kept."""

    metadata: NodeMeta
    spec: NodeSpec = field(default_factory=NodeSpec)
    status: NodeStatus = field(default_factory=NodeStatus)


class NodeInfo(Struct, frozen=True, gc=False):
    """What is kept of a Node: what its routes depend on, its agent's version, and its condition.

    `created` is the Node's creationTimestamp. `version` is one string object for all Nodes with the same version.
    `network_up`: podwire has set NetworkUnavailable=False.
    """

    name: str
    created: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    version: str = ""
    network_up: bool = False


def node_info(node: Node) -> NodeInfo:
    """The slim value of a Node. The first InternalIP of each family counts, as in Kubernetes itself."""
    addresses: dict[bool, str] = {}
    for address in node.status.addresses or ():
        if address.type == "InternalIP" and address.address:
            addresses.setdefault(":" in address.address, address.address)
    return NodeInfo(
        name=node.metadata.name,
        created=node.metadata.creation_timestamp or "",
        addresses=tuple(addresses[family] for family in sorted(addresses)),
        pod_cidrs=node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ()),
        version=sys.intern(node.metadata.annotations.version) if node.metadata.annotations else "",
        network_up=_network_up(node),
    )


def _network_up(node: Node) -> bool:
    for condition in node.status.conditions or ():
        if condition.type == "NetworkUnavailable":
            return condition.status == "False" and condition.reason == NETWORK_UP_REASON
    return False
