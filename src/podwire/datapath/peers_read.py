"""Reads the kernel objects for other nodes' pods, in the form in which they are desired."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

from podwire.attachments.identity import MADE_ALIAS, PREFIX
from podwire.datapath.peer import PeerRoutes, UnderlayAddress
from podwire.datapath.vxlan import VXLAN_DEVICE
from podwire.ip import Address, Network
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.socket import Netlink

OURS = (*VXLAN_DEVICE.values(), "podwire0")
BIG_ENDIAN_PORT = struct.Struct(">H")


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
        network = _network(values.get(c.RTA_DST, bytes(len(gateway))), prefix)
        source = values.get(c.RTA_PREFSRC)
        routes.routes[network] = op.AddRoute(
            links.get(read.number(values.get(c.RTA_OIF)), "?"),
            network,
            ip_address(gateway),
            source=ip_address(source) if source else None,
            onlink=bool(flags & c.RTNH_F_ONLINK),
            replace=True,
        )


def _network(raw: bytes, prefix: int) -> Network:
    number = int.from_bytes(raw, "big")
    return IPv4Network((number, prefix)) if len(raw) == 4 else IPv6Network((number, prefix))


def is_up(socket: Netlink, device: str) -> bool:
    """Does a device exist, and is it up?"""
    link = read.link(socket, device)
    return link is not None and link.up


def _vxlan(link: read.Link, links: Mapping[int, str]) -> op.AddVxlan:
    """A VXLAN device as the operation that would make it."""
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
    """The permanent neighbours and forwarding entries of a VXLAN device."""
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
