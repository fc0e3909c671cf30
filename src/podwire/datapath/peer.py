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


class PeerPath(Struct, frozen=True):
    """How a pod CIDR of a peer is reached, for people and for `status`."""

    peer: str
    destination: Network
    via: str
    device: str


class PeerRoutes(Struct):
    """The kernel objects for other nodes' pods, by what identifies them in the kernel.

    `paths` and `problems` (why a pod CIDR cannot be reached) are by the peer's name; they are empty in what was read
    from the kernel. A peer with a problem may have paths as well, for its other pod CIDRs.
    """

    devices: dict[str, op.AddVxlan] = field(default_factory=dict)
    routes: dict[Network, op.AddRoute] = field(default_factory=dict)
    neighbours: dict[tuple[str, Address], op.AddNeighbour] = field(default_factory=dict)
    forwarding: dict[tuple[str, str], op.AddForwarding] = field(default_factory=dict)
    paths: dict[str, list[PeerPath]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    paths_on: Counter[str] = field(default_factory=Counter)
    """The number of paths over each device."""

    down: set[str] = field(default_factory=set)
    """Devices that exist but are down; only in what was read from the kernel."""

    def add(self, path: PeerPath, route: op.AddRoute) -> None:
        """A path and its route."""
        self.routes[path.destination] = route
        self.paths.setdefault(path.peer, []).append(path)
        self.paths_on[path.device] += 1

    def put(self, other: PeerRoutes) -> None:
        """Put other peers' objects in."""
        self.devices.update(other.devices)
        self.routes.update(other.routes)
        self.neighbours.update(other.neighbours)
        self.forwarding.update(other.forwarding)
        self.paths.update(other.paths)
        self.problems.update(other.problems)
        self.paths_on.update(other.paths_on)

    def take_out(self, peers: Iterable[str]) -> PeerRoutes:
        """Take the objects of these peers out; a device that no path uses any more goes as well.

        Costs what these peers have, however many others there are: peers share nothing but devices.
        """
        gone = PeerRoutes()
        for peer in peers:
            self.problems.pop(peer, None)
            for path in self.paths.pop(peer, ()):
                route = self.routes.pop(path.destination)
                gone.add(path, route)
                self.paths_on[path.device] -= 1
                if path.device not in self.devices or route.via is None:
                    continue
                gateway = path.device, route.via
                neighbour = self.neighbours.pop(gateway)
                gone.neighbours[gateway] = neighbour
                vtep = path.device, neighbour.mac
                if vtep in self.forwarding:  # the pod CIDRs of one peer share it
                    gone.forwarding[vtep] = self.forwarding.pop(vtep)
        for device in gone.paths_on:
            if not self.paths_on[device]:
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
