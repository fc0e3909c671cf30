# SPDX-License-Identifier: Apache-2.0
"""Notifications of the kernel about changes of devices, addresses, routes, neighbours, sysctls and nftables."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Iterator

from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink.read import number, string
from podwire.netlink.socket import RECEIVE_BYTES, Netlink

libc = ctypes.CDLL(None, use_errno=True)
RECEIVE_BUFFER_BYTES = 1 << 20
WATCHED = (c.RTM_DELLINK, c.RTM_NEWADDR, c.RTM_DELADDR, c.RTM_DELROUTE, c.RTM_DELNEIGH)
GROUPS = (
    *(c.RTNLGRP_LINK, c.RTNLGRP_NEIGH, c.RTNLGRP_IPV4_IFADDR, c.RTNLGRP_IPV4_ROUTE, c.RTNLGRP_IPV6_IFADDR),
    *(c.RTNLGRP_IPV6_ROUTE, c.RTNLGRP_IPV4_NETCONF, c.RTNLGRP_IPV6_NETCONF),
)
LOAD_HALF, LOAD_WORD = c.BPF_LD | c.BPF_H | c.BPF_ABS, c.BPF_LD | c.BPF_W | c.BPF_ABS
JUMP_IF_EQUAL, RETURN = c.BPF_JMP | c.BPF_JEQ, c.BPF_RET
ALL, NOTHING = 0xFFFFFFFF, 0

_filters: list[ctypes.Array[ctypes.c_char]] = []
"""The filters' programs: the kernel reads them when a filter is attached, so they must not be freed before."""


def type_filter(*types: int, netconf_of_all: bool = False) -> bytes:
    """`struct sock_fprog`: a filter that accepts only messages of these types.

    With `netconf_of_all` it also accepts RTM_NEWNETCONF about the setting of all devices (`NETCONFA_IFINDEX_ALL`), not
    the one about each new device. A filter reads big endian, netlink writes little endian.
    """
    tests = [(LOAD_HALF, 0, 0, 4)]
    rest = 4 if netconf_of_all else 1  # instructions between the last type and the final RETURN
    for position, kind in enumerate(types):
        tests.append((JUMP_IF_EQUAL, len(types) - 1 - position + rest, 0, socket.htons(kind)))
    if netconf_of_all:
        tests += [(JUMP_IF_EQUAL, 0, 2, socket.htons(c.RTM_NEWNETCONF))]
        tests += [(LOAD_WORD, 0, 0, 24), (JUMP_IF_EQUAL, 1, 0, ALL)]
    tests += [(RETURN, 0, 0, NOTHING), (RETURN, 0, 0, ALL)]
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in tests)
    buffer = ctypes.create_string_buffer(program, len(program))
    _filters.append(buffer)
    return struct.pack("HL", len(tests), ctypes.addressof(buffer))


class NotificationsLostError(Exception):
    """The receive buffer was full and notifications were lost: everything must be read again."""


class Watch:
    """Subscribes to deleted links, addresses, routes and neighbours, to forwarding sysctls, and to nftables.

    ip monitor link address route neigh netconf; nft monitor
    """

    def __init__(self) -> None:
        self.route, self.nftables = Netlink(), Netlink(c.NETLINK_NETFILTER)
        self.route.socket.setsockopt(socket.SOL_SOCKET, c.SO_ATTACH_FILTER, type_filter(*WATCHED, netconf_of_all=True))
        self.route.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        for netlink, groups in ((self.route, GROUPS), (self.nftables, (c.NFNLGRP_NFTABLES,))):
            # An unbound socket receives nothing. It is bound before it joins: a later bind ends memberships.
            netlink.socket.bind((0, 0))
            for group in groups:
                netlink.socket.setsockopt(c.SOL_NETLINK, c.NETLINK_ADD_MEMBERSHIP, group)
            netlink.socket.setblocking(False)

    def route_events(self) -> Iterator[tuple[int, bytes]]:
        """The rtnetlink notifications since the last call: type and key of each. Raises NotificationsLostError.

        The key is the device's name (DELLINK), the packed destination and prefix length (DELROUTE), the device's
        index (NEWADDR, DELADDR), the index and the address, for a fdb entry the index and the MAC (DELNEIGH); for
        NEWNETCONF it has no meaning.
        """
        for data in _drain(self.route):
            for kind, _, _, payload in nl.messages(data):
                yield kind, _key(kind, payload)

    def nftables_changed(self) -> bool:
        """Has the ruleset changed since the last call?"""
        try:
            return any(_drain(self.nftables))
        except NotificationsLostError:
            return True


def _drain(source: Netlink) -> Iterator[bytes]:
    while True:
        try:
            yield source.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as lost:
            if lost.errno == errno.ENOBUFS:
                raise NotificationsLostError from None
            raise


def _key(kind: int, payload: memoryview) -> bytes:
    if kind == c.RTM_DELLINK:
        return string(nl.attributes(payload, 16).get(c.IFLA_IFNAME)).encode()
    if kind == c.RTM_DELROUTE:
        return nl.attributes(payload, 12).get(c.RTA_DST, b"") + bytes(payload[1:2])
    if kind == c.RTM_DELNEIGH:
        which = c.NDA_LLADDR if payload[0] == c.AF_BRIDGE else c.NDA_DST
        return bytes(payload[4:8]) + nl.attributes(payload, 12).get(which, b"")
    return bytes(payload[4:8])


def index_of_key(key: bytes) -> int:
    """The device's index with which a key begins."""
    return number(key)
