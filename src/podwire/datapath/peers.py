# SPDX-License-Identifier: Apache-2.0
"""How this node reaches the pods of other nodes: the desired state, the actual one, the operations between them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol, TypeVar

from podwire.attachments.identity import MADE_ALIAS, PREFIX
from podwire.datapath.direct import add_direct
from podwire.datapath.peer import LocalNode, PeerRoutes, UnderlayAddress
from podwire.datapath.vxlan import VXLAN_DEVICE, add_vxlan
from podwire.ip import Address, Network
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.socket import Netlink

AddPath = Callable[[PeerRoutes, LocalNode, str, Sequence[Address], Network], str]
"""Adds what the kernel must have so that a pod CIDR of a peer, which has these addresses, is reached in one way.

It returns "", or why the pod CIDR cannot be reached in this way; then nothing is added.
"""

# The ways that are tried, in order, by the setting `tunnel`.
PEER_DATAPATHS: Mapping[str, Sequence[AddPath]] = {
    "auto": (add_direct, add_vxlan),
    "always": (add_vxlan,),
    "never": (add_direct,),
}
OURS = (*VXLAN_DEVICE.values(), "podwire0")
BIG_ENDIAN_PORT = struct.Struct(">H")
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
            for add in PEER_DATAPATHS[peer.tunnel or tunnel]:
                reason = add(routes, node, peer.name, peer.addresses, network)
                if not reason:
                    break
            else:
                routes.problems.setdefault(peer.name, []).append(reason)
    return routes


def exchange(routes: PeerRoutes, gone: Iterable[str], come: PeerRoutes) -> list[op.Operation]:
    """Take some peers out of `routes` and put others in, without a look at all others; the operations in the kernel."""
    devices = dict(routes.devices)
    before = routes.take_out(gone)
    routes.put(come)
    before.devices = devices
    after = PeerRoutes(routes.devices, come.routes, come.neighbours, come.forwarding)
    return changes(before, after)


def changes(have: PeerRoutes, want: PeerRoutes) -> list[op.Operation]:
    """The operations from one state to another. A device that must be different is made anew with everything on it.

    A device that is not needed any more goes last: until its routes have moved, packets still use it.
    """
    operations: list[op.Operation] = []
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
    return operations + [op.DeleteLink(name) for name in unused]


def _new(have: Mapping[Any, Entry], want: Mapping[Any, Entry], rebuilt: set[str]) -> list[Entry]:
    return [entry for key, entry in want.items() if have.get(key) != entry or entry.device in rebuilt]


def pod_mtu(mtu: int, addresses: Sequence[Address], underlay: Sequence[UnderlayAddress]) -> int:
    """The MTU of pods in bytes: `mtu` if it is set, else that of the device with one of this node's `addresses`.

    A tunnel carries less; its device has the smaller MTU; the host tells the sender (ICMP, RFC 1191).
    """
    return mtu or min((own.mtu for own in underlay if own.address.ip in addresses), default=DEFAULT_MTU)


def read_underlay(socket: Netlink) -> list[UnderlayAddress]:
    """The host's addresses on devices that are up and not podwire's: peers are reached from them."""
    found = []
    links = {link.index: link for link in read.links(socket)}
    for version in (4, 6):
        for index, address in read.all_addresses(socket, version):
            link = links.get(index)
            if link is None or not link.up or link.name in OURS or link.name.startswith(PREFIX):
                continue
            if link.alias.startswith(MADE_ALIAS) or address.ip.is_loopback or address.ip.is_link_local:
                continue
            found.append(UnderlayAddress(link.name, address, link.mtu))
    return found


def read_peer_routes(socket: Netlink) -> PeerRoutes:
    """Routes through other nodes, VXLAN devices, and the entries of these."""
    links = {link.index: link.name for link in read.links(socket)}
    routes = PeerRoutes()
    for name in VXLAN_DEVICE.values():
        link = read.link(socket, name)
        if link is not None and link.kind == "vxlan":
            routes.devices[name] = _vxlan(link, links)
            if not link.up:
                routes.down.add(name)
            _read_entries(socket, name, routes)
    for version in (4, 6):
        _read_routes(socket, version, links, routes)
    return routes


def _read_routes(socket: Netlink, version: int, links: Mapping[int, str], routes: PeerRoutes) -> None:
    for payload in read.route_payloads(socket, version):
        _, prefix, _, _, _, protocol, _, _, flags = nl.RTMSG.unpack_from(payload)
        if protocol != op.PROTOCOL:
            continue
        values = nl.attributes(payload, 12)
        gateway = values.get(c.RTA_GATEWAY)
        if not gateway:
            continue  # a pod's own route
        network = (IPv4Network if version == 4 else IPv6Network)((values.get(c.RTA_DST, bytes(len(gateway))), prefix))
        source = values.get(c.RTA_PREFSRC)
        routes.routes[network] = op.AddRoute(
            links.get(read.number(values.get(c.RTA_OIF)), "?"),
            network,
            ip_address(gateway),
            source=ip_address(source) if source else None,
            onlink=bool(flags & c.RTNH_F_ONLINK),
            replace=True,
        )


def is_up(socket: Netlink, device: str) -> bool:
    link = read.link(socket, device)
    return link is not None and link.up


def _vxlan(link: read.Link, links: Mapping[int, str]) -> op.AddVxlan:
    values = nl.attributes(link.data)
    local = values.get(c.IFLA_VXLAN_LOCAL) or values.get(c.IFLA_VXLAN_LOCAL6)
    return op.AddVxlan(
        link.name,
        link.mac,
        read.number(values.get(c.IFLA_VXLAN_ID)),
        BIG_ENDIAN_PORT.unpack(values.get(c.IFLA_VXLAN_PORT, b"\0\0"))[0],
        ip_address(local) if local else ip_address(0),
        links.get(read.number(values.get(c.IFLA_VXLAN_LINK)), "?"),
        link.mtu,
    )


def _read_entries(socket: Netlink, name: str, routes: PeerRoutes) -> None:
    index = socket.index(name)
    for family in (4, 6):
        for address, mac in _permanent(socket, nl.family(family), index):
            routes.neighbours[name, address] = op.AddNeighbour(name, address, mac)
    for node, mac in _permanent(socket, c.AF_BRIDGE, index):
        routes.forwarding[name, mac] = op.AddForwarding(name, mac, node)


def _permanent(socket: Netlink, family: int, index: int) -> list[tuple[Address, str]]:
    body = nl.NDMSG.pack(family, index if family == c.AF_BRIDGE else 0, 0, 0, 0)
    only = b"" if family == c.AF_BRIDGE else nl.u32(c.NDA_IFINDEX, index)
    found = []
    for kind, payload in socket.get(nl.message(c.RTM_GETNEIGH, c.NLM_F_DUMP, body, only)):
        if kind != c.RTM_NEWNEIGH:
            continue
        _, device, state, _, _ = nl.NDMSG.unpack_from(payload)
        values = nl.attributes(payload, 12)
        address, mac = values.get(c.NDA_DST), values.get(c.NDA_LLADDR)
        if device == index and state & c.NUD_PERMANENT and address and mac:
            found.append((ip_address(address), mac.hex(":")))
    return found
