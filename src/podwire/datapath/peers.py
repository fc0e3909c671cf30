"""How this node reaches the pods of all other nodes, and the operations from one state to another. No effects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from podwire.attachments.identity import MADE_ALIAS
from podwire.datapath.direct import Direct
from podwire.datapath.peer import LocalNode, PeerDatapath, PeerRoutes, UnderlayAddress
from podwire.datapath.vxlan import Vxlan
from podwire.ip import Address, Network
from podwire.netlink import operations as op
from podwire.netlink.operations import Operation

PEER_DATAPATHS: Mapping[str, Sequence[PeerDatapath]] = {
    "auto": (Direct(), Vxlan()),
    "always": (Vxlan(),),
    "never": (Direct(),),
}
"""The ways that are tried, in order, by the setting `tunnel`."""

DEFAULT_MTU = 1500
Entry = TypeVar("Entry", op.AddRoute, op.AddNeighbour, op.AddForwarding)


class Peer(Protocol):
    """Another node, as the settings have it (`node/settings.py`)."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[Address]: ...
    @property
    def pod_cidrs(self) -> Sequence[Network]: ...
    @property
    def tunnel(self) -> str | None:
        """Its own setting, None for this node's."""


def desired_routes(node: LocalNode, tunnel: str, peers: Iterable[Peer]) -> PeerRoutes:
    """What the kernel must have so that the peers are reached. A peer that cannot be reached is a problem."""
    routes = PeerRoutes()
    for peer in peers:
        for network in peer.pod_cidrs:
            reason = ""
            for datapath in PEER_DATAPATHS[peer.tunnel or tunnel]:
                reason = datapath.add(routes, node, peer.name, peer.addresses, network)
                if not reason:
                    break
            else:
                routes.problems.setdefault(peer.name, []).append(reason)
    return routes


def exchange(routes: PeerRoutes, gone: Iterable[str], come: PeerRoutes) -> list[Operation]:
    """Take some peers out of `routes` and put others in; the operations that do so in the kernel.

    With thousands of peers, one more or less must not cost a look at all of them.
    """
    devices = dict(routes.devices)
    before = routes.take_out(gone)
    routes.put(come)
    before.devices = devices
    after = PeerRoutes(routes.devices, come.routes, come.neighbours, come.forwarding)
    return changes(before, after)


def changes(have: PeerRoutes, want: PeerRoutes) -> list[Operation]:
    """The operations from one state to another.

    A device that must be different is made anew, and everything on it as well. A device that is not needed any more
    goes last: until its routes have moved, packets still use it.
    """
    operations: list[Operation] = []
    unused = sorted(set(have.devices) - set(want.devices))
    rebuilt = {name for name, device in want.devices.items() if have.devices.get(name, device) != device}
    operations += [op.DeleteLink(name) for name in sorted(rebuilt)]
    going = rebuilt.union(unused)
    for network, route in have.routes.items():
        if network not in want.routes and route.device not in going:
            operations.append(op.DeleteRoute(route.device, network))
    for device, address in have.neighbours:
        if (device, address) not in want.neighbours and device not in going:
            operations.append(op.DeleteNeighbour(device, address))
    for (device, mac), forward in have.forwarding.items():
        if want.forwarding.get((device, mac)) != forward and device not in going:
            operations.append(op.DeleteForwarding(device, mac, forward.node))
    for name, vxlan in want.devices.items():
        if have.devices.get(name) != vxlan:
            operations += [vxlan, op.SetAlias(name, MADE_ALIAS, addrgenmode_none=True), op.SetUp(name)]
        elif name in have.down:
            operations.append(op.SetUp(name))
    operations += _new(have.forwarding, want.forwarding, rebuilt)
    operations += _new(have.neighbours, want.neighbours, rebuilt)
    operations += _new(have.routes, want.routes, rebuilt)
    operations += [op.DeleteLink(name) for name in unused]
    return operations


def _new(have: Mapping[Any, Entry], want: Mapping[Any, Entry], rebuilt: set[str]) -> list[Entry]:
    return [entry for key, entry in want.items() if have.get(key) != entry or entry.device in rebuilt]


def pod_mtu(mtu: int, addresses: Sequence[Address], underlay: Sequence[UnderlayAddress]) -> int:
    """The MTU of pods in bytes: `mtu` if it is set, else that of the device with one of this node's `addresses`.

    A path through a tunnel carries less; its device has the smaller MTU; the host tells the sender (ICMP, RFC 1191).
    """
    return mtu or min((own.mtu for own in underlay if own.address.ip in addresses), default=DEFAULT_MTU)
