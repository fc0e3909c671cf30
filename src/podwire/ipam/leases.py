# SPDX-License-Identifier: Apache-2.0
"""The number of attachments and their leased addresses, for metrics; it reads less than `attachments.read`."""

from __future__ import annotations

from collections.abc import Callable

from podwire.attachments.altnames import leased_addresses
from podwire.attachments.identity import DEVICE_LETTERS, PREFIX
from podwire.ip import Address
from podwire.netlink import message as nl
from podwire.netlink.constants import IFLA_PROP_LIST, NLA_TYPE_MASK, NLM_F_DUMP, RTM_GETLINK
from podwire.netlink.read import SKIP_STATS, altnames
from podwire.netlink.socket import Netlink

AT_ONCE = 50
ATTRIBUTES_START = 16
NAME_START = 20  # `struct ifinfomsg` and an attribute's head: the kernel writes IFLA_IFNAME first (rtnl_fill_ifinfo)


def read_leases(socket: Netlink, yield_now: Callable[[], None]) -> tuple[int, list[Address]]:
    """The number of attachments' devices, and the addresses that are their altnames. Raises NetlinkError.

    `yield_now` is called after every fifty devices: to read a thousand takes 15 ms, and is not urgent.
    """
    ask = nl.message(RTM_GETLINK, NLM_F_DUMP, nl.link_body(), SKIP_STATS)
    first = PREFIX.encode()
    pods, leased = 0, []
    for place, (_, payload) in enumerate(socket.get(ask), 1):
        name = bytes(payload[NAME_START : NAME_START + DEVICE_LETTERS])
        if name.startswith(first) and b"\0" not in name:
            pods += 1
            leased += leased_addresses(altnames(_names(payload)))
        if place % AT_ONCE == 0:
            yield_now()
    return pods, leased


def _names(payload: memoryview) -> bytes | None:
    """A device's IFLA_PROP_LIST; the forty other attributes are stepped over."""
    offset, end = ATTRIBUTES_START, len(payload)
    while offset + 4 <= end:
        length, kind = nl.ATTRIBUTE.unpack_from(payload, offset)
        if kind & NLA_TYPE_MASK == IFLA_PROP_LIST:
            return bytes(payload[offset + 4 : offset + length])
        if length < 4:
            return None
        offset += (length + 3) & ~3
    return None
