"""The network that carries a lab: segments of nodes, a router between them, and an internet that knows no pods.

The router is also each segment's switch. Neither it nor the internet has a route to a pod: only packets with the
address of a node come back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from podwire_lab import netns
from podwire_lab.layout import INTERNET, INTERNET_ADDRESS, INTERNET_GATEWAY, PREFIX_LENGTH, ROUTER, Layout, NodePlan
from podwire_lab.place import Place

NODE_DEVICE = "eth0"
FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


@dataclass(frozen=True)
class Underlay:
    """The underlay of one lab."""

    lab: str
    layout: Layout

    @property
    def router(self) -> Place:
        """Between the segments and the internet."""
        return Place(self.lab, ROUTER)

    @property
    def internet(self) -> Place:
        """A host far away."""
        return Place(self.lab, INTERNET)

    def node(self, plan: NodePlan) -> Place:
        """A node's place."""
        return Place(self.lab, plan.name)

    def places(self) -> list[Place]:
        """All hosts."""
        return [self.router, self.internet, *(self.node(plan) for plan in self.layout.nodes)]

    def make(self) -> None:
        """Make the namespaces of all hosts and wire them; raises CommandError."""
        for place in self.places():
            netns.add(place)
        for family in self.layout.families:
            netns.sysctl(self.router, FORWARDING[family], "1")
        netns.ip(self.router, self._router_lines())
        netns.ip(self.internet, self._internet_lines())
        for plan in self.layout.nodes:
            netns.ip(self.node(plan), self._node_lines(plan))

    def _router_lines(self) -> Iterator[str]:
        yield f"link add to-internet type veth peer name {NODE_DEVICE} netns {self.internet.netns}"
        yield "link set to-internet up"
        for family in self.layout.families:
            yield _address(family, INTERNET_GATEWAY[family], "to-internet")
        for segment in self.layout.segments:
            switch = f"segment-{segment.number}"
            yield f"link add {switch} type bridge"
            yield f"link set {switch} up"
            for family in self.layout.families:
                yield _address(family, segment.gateway(family), switch)
        for plan in self.layout.nodes:
            place = self.node(plan)
            yield f"link add to-{plan.name} type veth peer name {NODE_DEVICE} netns {place.netns}"
            yield f"link set to-{plan.name} master segment-{plan.segment.number} up"

    def _internet_lines(self) -> Iterator[str]:
        yield f"link set {NODE_DEVICE} up"
        for family in self.layout.families:
            yield _address(family, INTERNET_ADDRESS[family], NODE_DEVICE)
            for segment in self.layout.segments:
                yield f"route add {segment.network(family)} via {INTERNET_GATEWAY[family]}"

    def _node_lines(self, plan: NodePlan) -> Iterator[str]:
        yield f"link set {NODE_DEVICE} up"
        for family, address in zip(plan.families, plan.addresses, strict=True):
            yield _address(family, address, NODE_DEVICE)
            # Not `default`: in a batch `ip` takes that for IPv4, whatever the gateway is.
            everywhere = "0.0.0.0/0" if family == 4 else "::/0"
            yield f"route add {everywhere} via {plan.segment.gateway(family)}"


def _address(family: int, address: str, device: str) -> str:
    """IPv6 addresses are usable at once: nobody here has the same (no duplicate detection)."""
    nodad = " nodad" if family == 6 else ""
    return f"address add {address}/{PREFIX_LENGTH[family]} dev {device}{nodad}"
