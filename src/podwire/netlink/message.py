# SPDX-License-Identifier: Apache-2.0
"""The netlink codec: attributes and messages as bytes, and bytes as attributes and messages (netlink(7))."""

from __future__ import annotations

import struct
from _socket import AF_INET, AF_INET6, AF_UNSPEC
from collections.abc import Iterator

from podwire.netlink import constants as c

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
ERROR = struct.Struct("=i")
ACK = struct.Struct("=IHHIIi")  # struct nlmsghdr and the errno of an NLMSG_ERROR

# What follows the header, by the kind of object: `struct ifinfomsg` and so on.
IFINFOMSG = struct.Struct("=BxHiII")
IFADDRMSG = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
NDMSG = struct.Struct("=BxxxiHBB")
NFGENMSG = struct.Struct("=BBH")

PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute (`struct nlattr`), padded to four bytes."""
    return ATTRIBUTE.pack(4 + len(payload), kind) + payload + PADDING[len(payload) & 3]


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that contains attributes."""
    payload = b"".join(attributes)
    return ATTRIBUTE.pack(4 + len(payload), kind | c.NLA_F_NESTED) + payload


def text(kind: int, value: str) -> bytes:
    """A NUL-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def padded(value: str, *lengths: int) -> bytes:
    """A string padded with NULs to the first length that is longer than it; with one NUL where none is.

    The kernel reads up to the first NUL. Values of one length can replace each other in a message template.
    """
    raw = value.encode()
    for length in lengths:
        if len(raw) < length:
            return raw.ljust(length, b"\0")
    return raw + b"\0"


def u32(kind: int, value: int) -> bytes:
    """A 32-bit attribute in native byte order."""
    return ATTRIBUTE.pack(8, kind) + struct.pack("=I", value)


def message(kind: int, flags: int, body: bytes, *attributes: bytes) -> bytes:
    """One message; the socket sets its sequence number."""
    payload = body + b"".join(attributes)
    return HEADER.pack(16 + len(payload), kind, flags | c.NLM_F_REQUEST, 0, 0) + payload


def attributes(data: memoryview | bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by their type; of equal types the last wins. Stops at the first attribute that is cut off."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            break
        found[kind & c.NLA_TYPE_MASK] = bytes(data[offset + 4 : offset + length])
        offset += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    """The messages of one datagram as (type, flags, sequence number, payload)."""
    view, offset = memoryview(data), 0
    while offset + 16 <= len(view):
        length, kind, flags, sequence, _ = HEADER.unpack_from(view, offset)
        if length < 16 or offset + length > len(view):
            break
        yield kind, flags, sequence, view[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def parse_error(payload: memoryview, flags: int) -> tuple[int, str]:
    """The errno and the extended ack message of an NLMSG_ERROR; errno 0 is an acknowledgement."""
    number = -ERROR.unpack_from(payload)[0]
    if not number or not flags & c.NLM_F_ACK_TLVS:
        return number, ""
    found = attributes(payload, 20)
    return number, found.get(c.NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def family(version: int) -> int:
    """The address family (AF_INET, AF_INET6) of an IP version."""
    return AF_INET if version == 4 else AF_INET6


def mac_bytes(mac: str) -> bytes:
    """`02:00:00:00:00:01` as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def link_body(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """`struct ifinfomsg`: an index, the flags to set and the mask of those that may change."""
    return IFINFOMSG.pack(AF_UNSPEC, 0, index, flags, change)


ONE_QUEUE = u32(c.IFLA_NUM_TX_QUEUES, 1) + u32(c.IFLA_NUM_RX_QUEUES, 1)
"""The kernel would create one queue per processor; a veth has no queue that can fill up, so one is enough."""
