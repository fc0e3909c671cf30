"""How this node reaches the pods of every other node: directly where the peer is on-link, by VXLAN where it is not.

`desired_paths` is a function of the settings and of what the host's devices are; `changes` of two such pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, field

from podwire.datapath.gateway import CREATED
from podwire.digest import blake2b
from podwire.ip import Address, Interface, Network
from podwire.netlink import operations as op
from podwire.netlink.operations import Operation
from podwire.node.old_settings import Peer, Settings

VXLAN_DEVICE = {4: "podwire-vx4", 6: "podwire-vx6"}
OVERHEAD_BYTES = {4: 50, 6: 70}
"""What VXLAN adds to a packet: the outer IP header, UDP (8), VXLAN (8) and the inner Ethernet header (14)."""

DEFAULT_MTU = 1500
Entry = TypeVar("Entry", op.AddRoute, op.AddNeighbour, op.AddForwarding)
SMALLEST_MTU = 1280


class Underlay(Struct, frozen=True):
    """An address of the host on a device that is not podwire's own."""

    device: str
    address: Interface
    mtu: int


class Path(Struct, frozen=True):
    """How a peer's range is reached, for people and for `status`."""

    peer: str
    destination: Network
    via: str
    device: str


class Paths(Struct):
    """All that the kernel must have for other nodes' pods. Keys are what identifies an object in the kernel."""

    devices: dict[str, op.AddVxlan] = field(default_factory=dict)
    routes: dict[Network, op.AddRoute] = field(default_factory=dict)
    neighbours: dict[tuple[str, Address], op.AddNeighbour] = field(default_factory=dict)
    forwarding: dict[tuple[str, str], op.AddForwarding] = field(default_factory=dict)
    ways: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def desired_paths(settings: Settings, underlays: Sequence[Underlay]) -> Paths:
    """The paths to all peers. A peer that cannot be reached is a problem, told in words; the others go on."""
    paths = Paths()
    for peer in settings.peers.values():
        tunnel = peer.tunnel or settings.tunnel
        for network in peer.pod_ranges:
            direct = None if tunnel == "always" else _on_link(peer, network, underlays)
            if direct is not None:
                address, device = direct
                paths.routes[network] = op.AddRoute(device, network, address, replace=True)
                paths.ways.append(Path(peer.name, network, f"{address} (direct)", device))
            elif tunnel == "never":
                paths.problems.append(
                    f"peer {peer.name} is not on-link, and tunnel=never forbids VXLAN: {network} is not reachable"
                )
            else:
                _tunnel(paths, settings, peer, network, underlays)
    return paths


def _on_link(peer: Peer, network: Network, underlays: Sequence[Underlay]) -> tuple[Address, str] | None:
    """The peer's address and our device, if both are in one subnet; the most specific subnet wins."""
    best: tuple[int, Address, str] | None = None
    for address in peer.addresses:
        if address.version != network.version:
            continue
        for one in underlays:
            prefix = one.address.network.prefixlen
            if prefix < one.address.max_prefixlen and address in one.address.network and address != one.address.ip:
                best = max(best or (-1, address, ""), (prefix, address, one.device), key=lambda found: found[0])
    return None if best is None else best[1:]


def _tunnel(paths: Paths, settings: Settings, peer: Peer, network: Network, underlays: Sequence[Underlay]) -> None:
    """Over VXLAN: a route through the peer's gateway, whose MAC is the peer's VTEP, which lives at its address."""
    own = {one.version: one for one in settings.addresses}
    node = next((one for one in sorted(peer.addresses, key=lambda one: one.version) if one.version in own), None)
    if node is None:
        paths.problems.append(
            f"peer {peer.name} has no address of a family that this node has: {network} is not reachable"
        )
        return
    local = own[node.version]
    device = VXLAN_DEVICE[node.version]
    if device not in paths.devices:
        under = next((one for one in underlays if one.address.ip == local), None)
        if under is None:
            paths.problems.append(f"address {local} of this node is on none of its devices: correct addresses")
            return
        mtu = max(under.mtu - OVERHEAD_BYTES[node.version], SMALLEST_MTU)
        paths.devices[device] = op.AddVxlan(
            device, vtep_mac(local), settings.vni, settings.port, local, under.device, mtu
        )
    gateway = network[1] if network.num_addresses > 2 else network[0]
    mac = vtep_mac(node)
    source = _source(settings, network.version)
    paths.routes[network] = op.AddRoute(device, network, gateway, onlink=True, source=source, replace=True)
    paths.neighbours[device, gateway] = op.AddNeighbour(device, gateway, mac)
    paths.forwarding[device, mac] = op.AddForwarding(device, mac, node)
    paths.ways.append(Path(peer.name, network, f"{node} (VXLAN {settings.vni})", device))


def _source(settings: Settings, family: int) -> Address | None:
    """What the host itself sends from into the tunnel: its gateway, to which the peer has a way back."""
    return next((one[1] for one in settings.pod_ranges if one.version == family and one.num_addresses > 2), None)


def vtep_mac(node: Address) -> str:
    """The MAC of a node's VXLAN device, from the node's address: nobody has to publish it."""
    raw = bytearray(blake2b(b"podwire vtep " + node.packed, digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")


def pod_mtu(settings: Settings, underlays: Sequence[Underlay]) -> int:
    """The MTU of pods: what is set, else that of the device with this node's address.

    A path through a tunnel carries less; its device says so, and the host tells the sender (ICMP, RFC 1191).
    """
    if settings.mtu:
        return settings.mtu
    own = [one.mtu for one in underlays if one.address.ip in settings.addresses]
    return min(own, default=DEFAULT_MTU)


def changes(have: Paths, want: Paths) -> list[Operation]:
    """The operations from one picture to the other.

    A device that must be different is made anew, and all that hung on the old one with it. One that nobody needs
    any more goes last: until its routes have moved, packets still find their way.
    """
    operations: list[Operation] = []
    needless = sorted(set(have.devices) - set(want.devices))
    rebuilt = {name for name, one in want.devices.items() if have.devices.get(name, one) != one}
    operations += [op.DeleteLink(name) for name in sorted(rebuilt)]
    going = rebuilt.union(needless)
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
            operations += [vxlan, op.SetAlias(name, CREATED, addrgenmode_none=True), op.SetUp(name)]
    operations += _new(have.forwarding, want.forwarding, rebuilt)
    operations += _new(have.neighbours, want.neighbours, rebuilt)
    operations += _new(have.routes, want.routes, rebuilt)
    operations += [op.DeleteLink(name) for name in needless]
    return operations


def exchange(paths: Paths, gone: Paths, come: Paths) -> list[Operation]:
    """Take some peers' paths out of a picture, put others' in; the operations for that.

    With thousands of peers, one more or less must not cost looking at all of them. Peers share nothing but devices.
    """
    have = Paths(dict(paths.devices), gone.routes, gone.neighbours, gone.forwarding)
    for network in gone.routes:
        paths.routes.pop(network, None)
    for neighbour in gone.neighbours:
        paths.neighbours.pop(neighbour, None)
    for forward in gone.forwarding:
        paths.forwarding.pop(forward, None)
    paths.routes.update(come.routes)
    paths.neighbours.update(come.neighbours)
    paths.forwarding.update(come.forwarding)
    used = {device for device, _ in paths.forwarding}
    paths.devices = {name: one for name, one in (paths.devices | come.devices).items() if name in used}
    names, told = {one.peer for one in gone.ways}, {*gone.problems}
    paths.ways = [one for one in paths.ways if one.peer not in names] + come.ways
    paths.problems = [one for one in paths.problems if one not in told] + come.problems
    return changes(have, Paths(paths.devices, come.routes, come.neighbours, come.forwarding))


def _new(have: Mapping[Any, Entry], want: Mapping[Any, Entry], rebuilt: set[str]) -> list[Entry]:
    return [one for key, one in want.items() if have.get(key) != one or one.device in rebuilt]
