# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes: builds echo requests and parses captured frames, with VXLAN decapsulated. Pure.

RFC 792 and 4443 (ICMP), 791 and 8200 (IP), 768 (UDP), 9293 (TCP), 7348 (VXLAN).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from podwire.ip import Address
from podwire.record import Record, replace

IP, IPV6, VLAN = 0x0800, 0x86DD, 0x8100
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
HEADERS_BYTES = {4: 28, 6: 48}  # an IP header without options and an ICMP header
TOKEN_PREFIX, TOKEN_BYTES = b"podwire!", 16
EXTENSIONS, FRAGMENT = (0, 43, 60), 44


class Packet(Record):
    """A captured packet; in VXLAN the inner packet, with the outer addresses in `tunnel_from` and `tunnel_to`.

    `token` identifies a probe; `quoted` is the packet that an ICMP error quotes.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    type: int = 0
    code: int = 0
    token: bytes = b""
    quoted: Packet | None = None
    mtu: int = 0
    to_mac: str = ""
    tunnel_from: Address | None = None
    tunnel_to: Address | None = None


def token(number: bytes) -> bytes:
    """The token of a probe: eight bytes that podwire's probes share, then eight bytes of this probe."""
    return TOKEN_PREFIX + number[:8].ljust(8, b"\0")


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def echo_request(family: int, token: bytes, sequence: int, packet_bytes: int = 0) -> bytes:
    """An ICMP echo request whose IP packet has `packet_bytes` bytes (0: as few as possible).

    For IPv6 the kernel computes the checksum, which covers the addresses.
    """
    payload = token.ljust(max(packet_bytes - HEADERS_BYTES[family], len(token)), b".")
    identifier = int.from_bytes(token[8:10], "big")
    message = struct.pack(">BBHHH", ECHO_REQUEST[family], 0, 0, identifier, sequence) + payload
    return message if family == 6 else message[:2] + checksum(message).to_bytes(2, "big") + message[4:]


def is_echo_reply(family: int, data: bytes, token: bytes) -> bool:
    """Whether `data` from a raw socket is the reply with that token. (For IPv4 it begins with the IP header.)"""
    start = (data[0] & 0xF) * 4 if family == 4 and data else 0
    message = data[start:]
    return len(message) >= 8 and message[0] == ECHO_REPLY[family] and message[8 : 8 + len(token)] == token


def parse_frame(data: bytes, *, ethernet: bool = True) -> Packet | None:
    """The packet of a captured frame, decapsulated; None if it is not IP or is truncated."""
    try:
        if not ethernet:
            return _ip(data, "")
        kind, start = struct.unpack_from(">H", data, 12)[0], 14
        if kind == VLAN:
            kind, start = struct.unpack_from(">H", data, 16)[0], 18
        return _ip(data[start:], data[:6].hex(":")) if kind in (IP, IPV6) else None
    except (struct.error, IndexError, ValueError):
        return None


def _ip(data: bytes, to_mac: str) -> Packet | None:
    if data[0] >> 4 == 4:
        start, protocol = (data[0] & 0xF) * 4, data[9]
        source: Address = IPv4Address(data[12:16])
        destination: Address = IPv4Address(data[16:20])
        if struct.unpack_from(">H", data, 6)[0] & 0x1FFF:
            return None  # not the first fragment
    elif data[0] >> 4 == 6:
        source, destination = IPv6Address(data[8:24]), IPv6Address(data[24:40])
        protocol, start = data[6], 40
        while protocol in EXTENSIONS or protocol == FRAGMENT:
            if protocol == FRAGMENT and struct.unpack_from(">H", data, start + 2)[0] & 0xFFF8:
                return None
            size = 8 if protocol == FRAGMENT else (data[start + 1] + 1) * 8
            protocol, start = data[start], start + size
    else:
        return None
    return _transport(data[start:], source, destination, protocol, to_mac)


def _transport(data: bytes, source: Address, destination: Address, protocol: int, to_mac: str) -> Packet | None:
    if protocol in (ICMP, ICMPV6):
        return _icmp(data, source, destination, protocol, to_mac)
    if protocol not in (TCP, UDP):
        return None
    source_port, destination_port = struct.unpack_from(">HH", data)
    payload = data[8:]
    if protocol == UDP and payload[:4] == b"\x08\0\0\0" and len(payload) > 22:
        inner = parse_frame(payload[8:])
        if inner is not None:
            return replace(inner, to_mac=to_mac, tunnel_from=source, tunnel_to=destination)
    found = payload[:TOKEN_BYTES] if protocol == UDP and payload.startswith(TOKEN_PREFIX) else b""
    return Packet(source, destination, protocol, source_port, destination_port, token=found, to_mac=to_mac)


def _icmp(data: bytes, source: Address, destination: Address, protocol: int, to_mac: str) -> Packet:
    kind, code = data[0], data[1]
    family = source.version
    if kind in (ECHO_REQUEST[family], ECHO_REPLY[family]):
        found = data[8 : 8 + TOKEN_BYTES] if data[8:].startswith(TOKEN_PREFIX) else b""
        return Packet(source, destination, protocol, type=kind, code=code, token=found, to_mac=to_mac)
    is_error = kind < 128 if family == 6 else kind in (3, 11, 12)
    quoted = _ip(data[8:], "") if is_error and len(data) > 28 else None
    mtu = 0
    if (family, kind, code) == (4, 3, 4):
        mtu = struct.unpack_from(">H", data, 6)[0]
    elif (family, kind) == (6, 2):
        mtu = struct.unpack_from(">I", data, 4)[0]
    return Packet(source, destination, protocol, type=kind, code=code, quoted=quoted, mtu=mtu, to_mac=to_mac)


ICMP_TEXTS = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "packet too large",
    (4, 3, 9): "network prohibited",
    (4, 3, 10): "host prohibited",
    (4, 3, 13): "administratively prohibited",
    (4, 11, 0): "hop limit exceeded",
    (6, 1, 0): "no route",
    (6, 1, 1): "administratively prohibited",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address refused",
    (6, 1, 6): "route refused",
    (6, 2, 0): "packet too large",
    (6, 3, 0): "hop limit exceeded",
}


def icmp_text(family: int, kind: int, code: int) -> str:
    """The text for an ICMP error."""
    return ICMP_TEXTS.get((family, kind, code), f"ICMP type {kind} code {code}")
