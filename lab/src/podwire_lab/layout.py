# SPDX-License-Identifier: Apache-2.0
"""Computes a lab's layout from its specification: nodes with segments, addresses, pod CIDRs and pods. Pure.

All labs use the same addresses: their networks are separate from each other and from the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Literal

from podwire.record import Record

Topology = Literal["l2", "routed"]
FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}
MAX_NODES = 8
CLUSTER = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
PREFIX_LENGTH = {4: 24, 6: 64}
FIRST, ROUTER, INTERNET = "master", "router", "internet"
# Addresses for documentation (RFC 5737, RFC 3849), which no host uses.
INTERNET_ADDRESS = {4: "203.0.113.1", 6: "2001:db8:113::1"}
INTERNET_GATEWAY = {4: "203.0.113.254", 6: "2001:db8:113::fe"}


class LayoutError(ValueError):
    """A specification that no lab can have; the message is one line."""


class LabSpec(Record):
    """The specification of a lab."""

    nodes: int = 3
    topology: Topology = "l2"
    mode: Literal["routed", "bridge"] = "routed"
    family: Literal["v4", "v6", "dual"] = "dual"
    tunnel: Literal["auto", "always", "never"] = "auto"


class PodPlan(Record):
    """A planned pod: its name, and the kind of its image (nginx, bash)."""

    name: str
    image: str


class Segment(Record):
    """A layer-2 segment between nodes; the router is its gateway."""

    number: int

    def address(self, family: int, host: int) -> str:
        """A host's address in the segment."""
        return f"192.168.{33 + self.number}.{host}" if family == 4 else f"fd00:192:168:{33 + self.number}::{host}"

    def gateway(self, family: int) -> str:
        """The router's address in the segment."""
        return self.address(family, 1)

    def network(self, family: int) -> str:
        """The segment's network."""
        return f"192.168.{33 + self.number}.0/24" if family == 4 else f"fd00:192:168:{33 + self.number}::/64"


class NodePlan(Record):
    """A planned node."""

    number: int
    name: str
    segment: Segment
    families: tuple[int, ...]
    pods: tuple[PodPlan, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The node's addresses on the underlay, one for each family."""
        return tuple(self.segment.address(family, 10 + self.number) for family in self.families)

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """The node's pod CIDRs, one for each family."""
        own = {4: f"10.244.{self.number}.0/24", 6: f"fd00:10:244:{self.number}::/64"}
        return tuple(str(ip_network(own[family])) for family in self.families)


class Layout(Record):
    """The layout of a lab."""

    spec: LabSpec
    nodes: tuple[NodePlan, ...]

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both."""
        return FAMILIES[self.spec.family]

    @property
    def segments(self) -> list[Segment]:
        """The segments that have nodes."""
        return sorted({node.segment for node in self.nodes}, key=lambda segment: segment.number)

    @property
    def cluster(self) -> list[str]:
        """The cluster's pod CIDRs."""
        return [CLUSTER[family] for family in self.families]


def layout(spec: LabSpec) -> Layout:
    """The layout for a specification; raises LayoutError."""
    if not 1 <= spec.nodes <= MAX_NODES:
        raise LayoutError(f"{spec.nodes} nodes: a lab has 1 to {MAX_NODES}")
    if spec.topology == "routed" and spec.nodes == 1:
        raise LayoutError("a routed topology needs a second node to put behind the router")
    if spec.topology == "routed" and spec.tunnel == "never":
        raise LayoutError("pods behind a router need a tunnel: remove --tunnel never")
    names = [FIRST, *(f"worker-{number}" for number in range(1, spec.nodes))]
    families = FAMILIES[spec.family]
    return Layout(
        spec,
        tuple(
            NodePlan(number, name, Segment(_segment(spec, number)), families, tuple(_pods(spec, name)))
            for number, name in enumerate(names)
        ),
    )


def _segment(spec: LabSpec, number: int) -> int:
    """The node's segment. Behind the router are worker-2 and every second worker after it, or the only worker."""
    if spec.topology == "l2":
        return 0
    return 1 if number and (number % 2 == 0 or spec.nodes == 2) else 0


def _pods(spec: LabSpec, node: str) -> Iterator[PodPlan]:
    """A web server and a shell on every worker; on the master only where there is no worker."""
    if node != FIRST or spec.nodes == 1:
        yield PodPlan(f"nginx-{node}", "nginx")
        yield PodPlan(f"bash-{node}", "bash")
