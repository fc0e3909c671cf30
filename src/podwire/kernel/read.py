"""What the kernel has: devices, addresses, routes and neighbours of one namespace, by rtnetlink dumps."""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address, ip_interface, ip_network

from msgspec import Struct

from podwire.kernel import encode as rt
from podwire.kernel import netlink as nl
from podwire.kernel.netlink import Netlink, NetlinkError
from podwire.plan.operations import Address, Interface, Network

RTEXT_FILTER_SKIP_STATS = 8
SKIP_STATS = nl.u32(rt.IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
PROP_ITEM = struct.Struct("=HH")


class Link(Struct, frozen=True):
    """A device as `ip -d link show` prints it."""

    index: int
    name: str
    flags: int
    mtu: int
    mac: str
    master: int
    kind: str
    alias: str
    altnames: tuple[str, ...]

    @property
    def up(self) -> bool:
        return bool(self.flags & rt.IFF_UP)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & rt.IFF_PROMISC)


class Route(Struct, frozen=True):
    """A route of the main table, as far as podwire compares it."""

    destination: Network
    gateway: Address | None
    device: int
    protocol: int


def string(raw: bytes | None) -> str:
    """A NUL-terminated attribute as text; bytes that are not UTF-8 become U+FFFD."""
    return raw.rstrip(b"\0").decode(errors="replace") if raw else ""


def number(raw: bytes | None) -> int:
    """A 32-bit attribute; 0 where it is missing."""
    return int.from_bytes(raw[:4], "little") if raw else 0


def _altnames(raw: bytes | None) -> tuple[str, ...]:
    found, offset = [], 0
    while raw and offset + 4 <= len(raw):
        length, kind = PROP_ITEM.unpack_from(raw, offset)
        if length < 4:
            break
        if kind & nl.NLA_TYPE_MASK == rt.IFLA_ALT_IFNAME:
            found.append(string(raw[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return tuple(found)


def _link(payload: memoryview) -> Link:
    _, _, index, flags, _ = rt.IFINFOMSG.unpack_from(payload)
    found = nl.attributes(payload, 16)
    info = found.get(rt.IFLA_LINKINFO)
    return Link(
        index=index,
        name=string(found.get(rt.IFLA_IFNAME)),
        flags=flags,
        mtu=number(found.get(rt.IFLA_MTU)),
        mac=found.get(rt.IFLA_ADDRESS, b"").hex(":"),
        master=number(found.get(rt.IFLA_MASTER)),
        kind=string(nl.attributes(info).get(rt.IFLA_INFO_KIND)) if info else "",
        alias=string(found.get(rt.IFLA_IFALIAS)),
        altnames=_altnames(found.get(rt.IFLA_PROP_LIST)),
    )


def link(socket: Netlink, name: str) -> Link | None:
    """The device of that name or alternative name, or None."""
    kind = rt.IFLA_IFNAME if len(name.encode()) < 16 else rt.IFLA_ALT_IFNAME
    ask = nl.message(rt.RTM_GETLINK, 0, rt.link_body(), nl.text(kind, name), SKIP_STATS)
    try:
        return _link(socket.get(ask)[0][1])
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return None
        raise


def links(socket: Netlink) -> list[Link]:
    """All devices of the namespace."""
    ask = nl.message(rt.RTM_GETLINK, nl.NLM_F_DUMP, rt.link_body(), SKIP_STATS)
    return [_link(payload) for kind, payload in socket.get(ask) if kind == rt.RTM_NEWLINK]


def addresses(socket: Netlink, index: int, version: int) -> list[Interface]:
    """The addresses of one device and family (4 or 6)."""
    ask = nl.message(
        rt.RTM_GETADDR, nl.NLM_F_DUMP, rt.IFADDRMSG.pack(rt.family(version), 0, 0, 0, index)
    )  # fmt: skip
    found: list[Interface] = []
    try:
        dumped = socket.get(ask)
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return found
        raise
    for kind, payload in dumped:
        if kind != rt.RTM_NEWADDR:
            continue
        _, prefix, _, _, device = rt.IFADDRMSG.unpack_from(payload)
        values = nl.attributes(payload, 8)
        raw = values.get(rt.IFA_LOCAL) or values.get(rt.IFA_ADDRESS)
        if raw and device == index:
            found.append(ip_interface((raw, prefix)))
    return found


def routes(socket: Netlink, version: int) -> list[Route]:
    """The unicast routes of the main table."""
    body = rt.RTMSG.pack(rt.family(version), 0, 0, 0, rt.RT_TABLE_MAIN, 0, 0, rt.RTN_UNICAST, 0)
    found = []
    for kind, payload in socket.get(nl.message(rt.RTM_GETROUTE, nl.NLM_F_DUMP, body)):
        if kind != rt.RTM_NEWROUTE:
            continue
        _, prefix, _, _, table, protocol, _, what, _ = rt.RTMSG.unpack_from(payload)
        if table != rt.RT_TABLE_MAIN or what != rt.RTN_UNICAST:
            continue
        values = nl.attributes(payload, 12)
        size = 4 if version == 4 else 16
        to = ip_network((values.get(rt.RTA_DST, bytes(size)), prefix))
        gateway = values.get(rt.RTA_GATEWAY)
        via = ip_address(gateway) if gateway else None
        found.append(Route(to, via, number(values.get(rt.RTA_OIF)), protocol))
    return found
