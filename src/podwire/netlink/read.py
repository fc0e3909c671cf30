# SPDX-License-Identifier: Apache-2.0
"""Devices, addresses, routes and neighbours of one network namespace, read by rtnetlink dumps."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from podwire.ip import Address, Interface, Network, with_prefix
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.record import Record

SKIP_STATS = nl.u32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS)


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
    data: bytes = b""  # the encoded attributes of this kind of device (IFLA_INFO_DATA)

    @property
    def up(self) -> bool:
        return bool(self.flags & c.IFF_UP)

    @property
    def promiscuous(self) -> bool:
        return bool(self.flags & c.IFF_PROMISC)


class Route(Record):
    """A unicast route of the main table: the fields that podwire compares; `device` is an index."""

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
    """The altnames in an IFLA_PROP_LIST."""
    found, offset = [], 0
    while raw and offset + 4 <= len(raw):
        length, kind = nl.ATTRIBUTE.unpack_from(raw, offset)
        if length < 4:
            break
        if kind & c.NLA_TYPE_MASK == c.IFLA_ALT_IFNAME:
            found.append(string(raw[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return tuple(found)


def _link(payload: memoryview) -> Link:
    _, _, index, flags, _ = nl.IFINFOMSG.unpack_from(payload)
    found = nl.attributes(payload, 16)
    info = nl.attributes(found.get(c.IFLA_LINKINFO, b""))
    return Link(
        index=index,
        name=string(found.get(c.IFLA_IFNAME)),
        flags=flags,
        mtu=number(found.get(c.IFLA_MTU)),
        mac=found.get(c.IFLA_ADDRESS, b"").hex(":"),
        master=number(found.get(c.IFLA_MASTER)),
        kind=string(info.get(c.IFLA_INFO_KIND)),
        alias=string(found.get(c.IFLA_IFALIAS)),
        altnames=altnames(found.get(c.IFLA_PROP_LIST)),
        data=info.get(c.IFLA_INFO_DATA, b""),
    )


def link(socket: Netlink, name: str) -> Link | None:
    """The device with this name or altname, or None (`ip -d link show NAME`). Raises NetlinkError."""
    kind = c.IFLA_IFNAME if len(name.encode()) < 16 else c.IFLA_ALT_IFNAME
    request = nl.message(c.RTM_GETLINK, 0, nl.link_body(), nl.text(kind, name), SKIP_STATS)
    try:
        return _link(socket.get(request)[0][1])
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return None
        raise


def links(socket: Netlink) -> list[Link]:
    """All devices of the namespace (`ip -d link show`). Raises NetlinkError."""
    request = nl.message(c.RTM_GETLINK, c.NLM_F_DUMP, nl.link_body(), SKIP_STATS)
    return [_link(payload) for kind, payload in socket.get(request) if kind == c.RTM_NEWLINK]


def addresses(socket: Netlink, index: int, version: int) -> list[Interface]:
    """The addresses of one device and IP version (`ip -4 address show dev DEVICE`). Raises NetlinkError."""
    try:
        return [address for device, address in all_addresses(socket, version, index) if device == index]
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return []
        raise


def all_addresses(socket: Netlink, version: int, index: int = 0) -> list[tuple[int, Interface]]:
    """The addresses of all devices (`ip -4 address show`), each with its device's index. Raises NetlinkError.

    With `index` the kernel may send those of that device alone.
    """
    body = nl.IFADDRMSG.pack(nl.family(version), 0, 0, 0, index)
    found: list[tuple[int, Interface]] = []
    for kind, payload in socket.get(nl.message(c.RTM_GETADDR, c.NLM_F_DUMP, body)):
        if kind != c.RTM_NEWADDR:
            continue
        _, prefix, _, _, device = nl.IFADDRMSG.unpack_from(payload)
        values = nl.attributes(payload, 8)
        raw = values.get(c.IFA_LOCAL) or values.get(c.IFA_ADDRESS)
        if raw:
            found.append((device, with_prefix(ip_address(raw), prefix)))
    return found


def route_payloads(socket: Netlink, version: int) -> Iterator[memoryview]:
    """The unicast routes of the main table, as messages (`struct rtmsg` and attributes)."""
    body = nl.RTMSG.pack(nl.family(version), 0, 0, 0, c.RT_TABLE_MAIN, 0, 0, c.RTN_UNICAST, 0)
    for kind, payload in socket.get(nl.message(c.RTM_GETROUTE, c.NLM_F_DUMP, body)):
        if kind == c.RTM_NEWROUTE:
            _, _, _, _, table, _, _, what, _ = nl.RTMSG.unpack_from(payload)
            if table == c.RT_TABLE_MAIN and what == c.RTN_UNICAST:
                yield payload


def routes(socket: Netlink, version: int) -> list[Route]:
    """The unicast routes of the main table (`ip -4 route show type unicast`). Raises NetlinkError."""
    found, default = [], bytes(4 if version == 4 else 16)
    for payload in route_payloads(socket, version):
        _, prefix, _, _, _, protocol, _, _, _ = nl.RTMSG.unpack_from(payload)
        values = nl.attributes(payload, 12)
        gateway = values.get(c.RTA_GATEWAY)
        to, via = ip_network((values.get(c.RTA_DST, default), prefix)), ip_address(gateway) if gateway else None
        found.append(Route(to, via, number(values.get(c.RTA_OIF)), protocol))
    return found
