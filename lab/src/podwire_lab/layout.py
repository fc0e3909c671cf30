"""Which hosts a lab has: nodes with their segments, addresses, pod ranges and pods; computed from a few words. Pure.

Every lab uses the same addresses: no lab's network touches another's, or the machine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Literal

Topology = Literal["l2", "routed"]
FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}
MAX_NODES = 8
CLUSTER = {4: "10.244.0.0/16", 6: "fd00:10:244::/48"}
PREFIX_LENGTH = {4: 24, 6: 64}
FIRST, ROUTER, INTERNET = "master", "router", "internet"
# Ranges set aside for documentation (RFC 5737, RFC 3849): they are nobody's.
INTERNET_ADDRESS = {4: "203.0.113.1", 6: "2001:db8:113::1"}
INTERNET_GATEWAY = {4: "203.0.113.254", 6: "2001:db8:113::fe"}


class LayoutError(ValueError):
    """There is no such lab: one line that says why."""


@dataclass(frozen=True)
class Wish:
    """What somebody wants a lab to be."""

    nodes: int = 3
    topology: Topology = "l2"
    mode: Literal["routed", "bridge"] = "routed"
    family: Literal["v4", "v6", "dual"] = "dual"
    tunnel: Literal["auto", "always", "never"] = "auto"


@dataclass(frozen=True)
class PodPlan:
    """A pod to be: its name, and which of the lab's images it runs."""

    name: str
    image: str


@dataclass(frozen=True)
class Segment:
    """A layer-2 segment between nodes; the router is its gateway."""

    number: int

    def address(self, family: int, host: int) -> str:
        """A host's address in it."""
        return f"192.168.{33 + self.number}.{host}" if family == 4 else f"fd00:192:168:{33 + self.number}::{host}"

    def gateway(self, family: int) -> str:
        """The router's address in it."""
        return self.address(family, 1)

    def network(self, family: int) -> str:
        """The whole of it."""
        return f"192.168.{33 + self.number}.0/24" if family == 4 else f"fd00:192:168:{33 + self.number}::/64"


@dataclass(frozen=True)
class NodePlan:
    """A node to be."""

    number: int
    name: str
    segment: Segment
    families: tuple[int, ...]
    pods: tuple[PodPlan, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses on the underlay, one a family."""
        return tuple(self.segment.address(family, 10 + self.number) for family in self.families)

    @property
    def pod_ranges(self) -> tuple[str, ...]:
        """Its share of the cluster's ranges, one a family."""
        own = {4: f"10.244.{self.number}.0/24", 6: f"fd00:10:244:{self.number}::/64"}
        return tuple(str(ip_network(own[family])) for family in self.families)


@dataclass(frozen=True)
class Layout:
    """A whole lab to be."""

    wish: Wish
    nodes: tuple[NodePlan, ...]

    @property
    def families(self) -> tuple[int, ...]:
        """4, 6 or both."""
        return FAMILIES[self.wish.family]

    @property
    def segments(self) -> list[Segment]:
        """The segments that have nodes."""
        return sorted({node.segment for node in self.nodes}, key=lambda each: each.number)

    @property
    def cluster(self) -> list[str]:
        """The ranges of all pods."""
        return [CLUSTER[family] for family in self.families]


def layout(wish: Wish) -> Layout:
    """The lab that a wish asks for; raises LayoutError."""
    if not 1 <= wish.nodes <= MAX_NODES:
        raise LayoutError(f"{wish.nodes} nodes: a lab has 1 to {MAX_NODES}")
    if wish.topology == "routed" and wish.nodes == 1:
        raise LayoutError("a routed topology needs a second node to put behind the router")
    if wish.topology == "routed" and wish.tunnel == "never":
        raise LayoutError("with a router between nodes their pods meet through a tunnel only: not --tunnel never")
    names = [FIRST, *(f"worker-{number}" for number in range(1, wish.nodes))]
    families = FAMILIES[wish.family]
    return Layout(
        wish,
        tuple(
            NodePlan(number, name, Segment(_segment(wish, number)), families, tuple(_pods(wish, name)))
            for number, name in enumerate(names)
        ),
    )


def _segment(wish: Wish, number: int) -> int:
    """Behind the router: worker-2 and every second worker after it, or the only worker."""
    if wish.topology == "l2":
        return 0
    return 1 if number and (number % 2 == 0 or wish.nodes == 2) else 0


def _pods(wish: Wish, node: str) -> Iterator[PodPlan]:
    """A web server and a shell on every worker; on the master only where there is no worker."""
    if node != FIRST or wish.nodes == 1:
        yield PodPlan(f"nginx-{node}", "nginx")
        yield PodPlan(f"bash-{node}", "bash")
