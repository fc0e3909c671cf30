"""What the kernel has: devices, addresses, routes and neighbours of one namespace, by rtnetlink dumps."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from podwire.ip import (
    Address,
    Interface,
    Network,
    with_prefix,
)
from podwire.netlink import message as nl
from podwire.netlink.constants import (
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_PROMISC,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_ALT_IFNAME,
    IFLA_EXT_MASK,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_PROP_LIST,
    NLA_TYPE_MASK,
    NLM_F_DUMP,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTEXT_FILTER_SKIP_STATS,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTN_UNICAST,
)
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.record import Record

SKIP_STATS = nl.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
PROP_ITEM = struct.Struct("=HH")


class Link(Record):
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
    data: bytes = b""
    """The attributes that only devices of this kind have (`IFLA_INFO_DATA`)."""

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & IFF_PROMISC)


class Route(Record):
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


def altnames(raw: bytes | None) -> tuple[str, ...]:
    """The alternative names in an IFLA_PROP_LIST."""
    found, offset = [], 0
    while raw and offset + 4 <= len(raw):
        length, kind = PROP_ITEM.unpack_from(raw, offset)
        if length < 4:
            break
        if kind & NLA_TYPE_MASK == IFLA_ALT_IFNAME:
            found.append(string(raw[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return tuple(found)


def _link(payload: memoryview) -> Link:
    _, _, index, flags, _ = nl.IFINFOMSG.unpack_from(payload)
    found = nl.attributes(payload, 16)
    info = nl.attributes(found.get(IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=string(found.get(IFLA_IFNAME)),
        flags=flags,
        mtu=number(found.get(IFLA_MTU)),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        master=number(found.get(IFLA_MASTER)),
        kind=string(info.get(IFLA_INFO_KIND)),
        alias=string(found.get(IFLA_IFALIAS)),
        altnames=altnames(found.get(IFLA_PROP_LIST)),
        data=info.get(IFLA_INFO_DATA, b""),
    )


def link(socket: Netlink, name: str) -> Link | None:
    """The device of that name or alternative name, or None."""
    kind = IFLA_IFNAME if len(name.encode()) < 16 else IFLA_ALT_IFNAME
    ask = nl.message(RTM_GETLINK, 0, nl.link_body(), nl.text(kind, name), SKIP_STATS)
    try:
        return _link(socket.get(ask)[0][1])
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return None
        raise


def links(socket: Netlink) -> list[Link]:
    """All devices of the namespace."""
    ask = nl.message(RTM_GETLINK, NLM_F_DUMP, nl.link_body(), SKIP_STATS)
    return [_link(payload) for kind, payload in socket.get(ask) if kind == RTM_NEWLINK]


def addresses(socket: Netlink, index: int, version: int) -> list[Interface]:
    """The addresses of one device and family (4 or 6)."""
    try:
        return [one for device, one in _addresses(socket, index, version) if device == index]
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return []
        raise


def all_addresses(socket: Netlink, version: int) -> list[tuple[int, Interface]]:
    """The addresses of all devices, each with its device's index."""
    return _addresses(socket, 0, version)


def _addresses(socket: Netlink, index: int, version: int) -> list[tuple[int, Interface]]:
    body = nl.IFADDRMSG.pack(nl.family(version), 0, 0, 0, index)
    found: list[tuple[int, Interface]] = []
    for kind, payload in socket.get(nl.message(RTM_GETADDR, NLM_F_DUMP, body)):
        if kind != RTM_NEWADDR:
            continue
        _, prefix, _, _, device = nl.IFADDRMSG.unpack_from(payload)
        values = nl.attributes(payload, 8)
        raw = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
        if raw:
            found.append((device, with_prefix(ip_address(raw), prefix)))
    return found


def route_payloads(socket: Netlink, version: int) -> Iterator[memoryview]:
    """The unicast routes of the main table, as messages (`struct rtmsg` and attributes)."""
    body = nl.RTMSG.pack(nl.family(version), 0, 0, 0, RT_TABLE_MAIN, 0, 0, RTN_UNICAST, 0)
    for kind, payload in socket.get(nl.message(RTM_GETROUTE, NLM_F_DUMP, body)):
        if kind == RTM_NEWROUTE:
            _, _, _, _, table, _, _, what, _ = nl.RTMSG.unpack_from(payload)
            if table == RT_TABLE_MAIN and what == RTN_UNICAST:
                yield payload


def routes(socket: Netlink, version: int) -> list[Route]:
    """The unicast routes of the main table."""
    found = []
    for payload in route_payloads(socket, version):
        _, prefix, _, _, _, protocol, _, _, _ = nl.RTMSG.unpack_from(payload)
        values = nl.attributes(payload, 12)
        size = 4 if version == 4 else 16
        to = ip_network((values.get(RTA_DST, bytes(size)), prefix))
        gateway = values.get(RTA_GATEWAY)
        via = ip_address(gateway) if gateway else None
        found.append(Route(to, via, number(values.get(RTA_OIF)), protocol))
    return found
