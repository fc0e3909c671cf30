# SPDX-License-Identifier: Apache-2.0
"""What every way to another node's pods works with: this node, and the kernel objects for other nodes' pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from podwire.ip import Address, Interface, Network
from podwire.netlink import operations as op


class UnderlayAddress(Struct, frozen=True):
    """An address of the host on a device that is not podwire's own; `mtu` in bytes."""

    device: str
    address: Interface
    mtu: int


class LocalNode(Struct, frozen=True):
    """This node as far as it decides how others are reached; `vni` and `port` are VXLAN's."""

    addresses: tuple[Address, ...]
    pod_cidrs: tuple[Network, ...]
    vni: int
    port: int
    underlay: Sequence[UnderlayAddress]


class PeerRoutes(Struct):
    """The kernel objects for other nodes' pods, by what identifies them in the kernel.

    `destinations` (the pod CIDRs that are reached) and `problems` (why one is not) are by the peer's name,
    `routes_over` counts routes by device; they are empty in what was read. Only that has `down`, devices that are down.
    """

    devices: dict[str, op.AddVxlan] = field(default_factory=dict)
    routes: dict[Network, op.AddRoute] = field(default_factory=dict)
    neighbours: dict[tuple[str, Address], op.AddNeighbour] = field(default_factory=dict)
    forwarding: dict[tuple[str, str], op.AddForwarding] = field(default_factory=dict)
    destinations: dict[str, tuple[Network, ...]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    routes_over: Counter[str] = field(default_factory=Counter)
    down: set[str] = field(default_factory=set)

    def add(self, peer: str, route: op.AddRoute) -> None:
        self.routes[route.destination] = route
        self.destinations[peer] = (*self.destinations.get(peer, ()), route.destination)
        self.routes_over[route.device] += 1

    def put(self, other: PeerRoutes) -> None:
        """Put other peers' objects in."""
        self.devices.update(other.devices)
        self.routes.update(other.routes)
        self.neighbours.update(other.neighbours)
        self.forwarding.update(other.forwarding)
        self.destinations.update(other.destinations)
        self.problems.update(other.problems)
        self.routes_over.update(other.routes_over)

    def take_out(self, peers: Iterable[str]) -> PeerRoutes:
        """Take out what these peers have, and devices that no route uses any more. Peers share only devices."""
        gone = PeerRoutes()
        for peer in peers:
            self.problems.pop(peer, None)
            for destination in self.destinations.pop(peer, ()):
                route = self.routes.pop(destination)
                gone.add(peer, route)
                self.routes_over[route.device] -= 1
                if route.device not in self.devices or route.via is None:
                    continue
                gateway = route.device, route.via
                neighbour = self.neighbours.pop(gateway)
                gone.neighbours[gateway] = neighbour
                vtep = route.device, neighbour.mac
                if vtep in self.forwarding:  # the pod CIDRs of one peer share it
                    gone.forwarding[vtep] = self.forwarding.pop(vtep)
        for device in gone.routes_over:
            if not self.routes_over[device]:
                self.devices.pop(device, None)
        return gone
