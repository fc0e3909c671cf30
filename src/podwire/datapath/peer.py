"""What every way to another node's pods works with: this node, the kernel objects, and the protocol of such a way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

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

    `destinations` (the pod CIDRs that are reached) and `problems` (why one is not) are by the peer's name; they are
    empty in what was read from the kernel. A peer may have both, for different pod CIDRs.
    """

    devices: dict[str, op.AddVxlan] = field(default_factory=dict)
    routes: dict[Network, op.AddRoute] = field(default_factory=dict)
    neighbours: dict[tuple[str, Address], op.AddNeighbour] = field(default_factory=dict)
    forwarding: dict[tuple[str, str], op.AddForwarding] = field(default_factory=dict)
    destinations: dict[str, tuple[Network, ...]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    routes_over: Counter[str] = field(default_factory=Counter)
    """The number of peers' routes over each device."""

    down: set[str] = field(default_factory=set)
    """Devices that exist but are down; only in what was read from the kernel."""

    def add(self, peer: str, route: op.AddRoute) -> None:
        """Add a route to a pod CIDR of a peer."""
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
        """Take the objects of these peers out; a device that no route uses any more goes as well.

        Costs what these peers have, however many others there are: peers share nothing but devices.
        """
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


class PeerDatapath(Protocol):
    """One way to reach another node's pods."""

    def add(
        self, routes: PeerRoutes, node: LocalNode, peer: str, addresses: Sequence[Address], destination: Network
    ) -> str:
        """Add what the kernel must have so that `destination`, a pod CIDR of `peer`, is reached.

        Returns "", or why it cannot be reached this way; then nothing is added.
        """
