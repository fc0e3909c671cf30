# SPDX-License-Identifier: Apache-2.0
"""Creates the underlay of a lab: segments with nodes, a router between them, and a host that stands for the internet.

The router is also the switch of each segment. It and the internet have no route to pods: only packets with the address
of a node get a reply.
"""

from __future__ import annotations

from collections.abc import Iterator

from podwire.record import Record
from podwire_lab import netns
from podwire_lab.lab_host import LabHost
from podwire_lab.layout import INTERNET, INTERNET_ADDRESS, INTERNET_GATEWAY, PREFIX_LENGTH, ROUTER, Layout, NodePlan

NODE_DEVICE = "eth0"
FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


class Underlay(Record):
    """The underlay of a lab."""

    lab: str
    layout: Layout

    @property
    def router(self) -> LabHost:
        """The router between the segments and the internet."""
        return LabHost(self.lab, ROUTER)

    @property
    def internet(self) -> LabHost:
        """The host outside of the cluster."""
        return LabHost(self.lab, INTERNET)

    def node(self, plan: NodePlan) -> LabHost:
        """The host of a node."""
        return LabHost(self.lab, plan.name)

    def hosts(self) -> list[LabHost]:
        """All hosts."""
        return [self.router, self.internet, *(self.node(plan) for plan in self.layout.nodes)]

    def create(self) -> None:
        """Create the namespaces of all hosts and connect them; raises CommandError."""
        for host in self.hosts():
            netns.add(host)
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
            host = self.node(plan)
            yield f"link add to-{plan.name} type veth peer name {NODE_DEVICE} netns {host.netns}"
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
            # Not `default`: in a batch `ip` takes it as IPv4 even if the gateway is IPv6.
            everywhere = "0.0.0.0/0" if family == 4 else "::/0"
            yield f"route add {everywhere} via {plan.segment.gateway(family)}"


def _address(family: int, address: str, device: str) -> str:
    """The line that adds an address; IPv6 without duplicate address detection, so that it is usable at once."""
    nodad = " nodad" if family == 6 else ""
    return f"address add {address}/{PREFIX_LENGTH[family]} dev {device}{nodad}"
