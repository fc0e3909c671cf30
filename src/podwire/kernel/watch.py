"""Notifications: the kernel tells when something that podwire keeps in order was touched by somebody."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from podwire.kernel import encode as rt
from podwire.kernel import netlink as nl
from podwire.kernel.namespace import libc
from podwire.kernel.netlink import NETLINK_NETFILTER, Netlink
from podwire.kernel.read import number, string

NETLINK_ADD_MEMBERSHIP = 1
SO_ATTACH_FILTER = 26
RTNLGRP_LINK, RTNLGRP_NEIGH = 1, 3
RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 5, 7, 9, 11
NFNLGRP_NFTABLES = 7
RECEIVE_BUFFER_BYTES = 1 << 20
WATCHED = (rt.RTM_DELLINK, rt.RTM_NEWADDR, rt.RTM_DELADDR, rt.RTM_DELROUTE, rt.RTM_DELNEIGH)

IN_CLOSE_WRITE, IN_MOVED_TO, IN_DELETE, IN_CREATE = 0x8, 0x80, 0x200, 0x100

_filters: list[ctypes.Array[ctypes.c_char]] = []
"""Filter programs are read by the kernel when they are attached; kept, because they are few and forever."""


def type_filter(*types: int) -> bytes:
    """`struct sock_fprog`: let only these types through (netlink writes little, the filter reads big endian)."""
    count = len(types)
    program = struct.pack("=HBBI", 0x28, 0, 0, 4)
    for place, kind in enumerate(types):
        program += struct.pack("=HBBI", 0x15, count - place, 0, socket.htons(kind))
    program += struct.pack("=HBBI", 0x06, 0, 0, 0) + struct.pack("=HBBI", 0x06, 0, 0, 0xFFFFFFFF)
    buffer = ctypes.create_string_buffer(program, len(program))
    _filters.append(buffer)
    return struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))


class TouchedError(Exception):
    """So much happened that notifications were lost: look at everything."""


class Watch:
    """Notifications about deleted links, addresses, routes and neighbours, and about any nftables change."""

    def __init__(self) -> None:
        self.route = Netlink()
        self.route.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, type_filter(*WATCHED))
        self.route.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        # One without a port of its own would be taken for the kernel's, and hear nothing. (A later bind ends memberships.)
        self.route.socket.bind((0, 0))
        for group in (
            *(RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE),
            *(RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE),
        ):
            self.route.socket.setsockopt(nl.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self.nftables = Netlink(NETLINK_NETFILTER)
        self.nftables.socket.bind((0, 0))
        self.nftables.socket.setsockopt(nl.SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES)
        for one in (self.route, self.nftables):
            one.socket.setblocking(False)

    def route_events(self) -> Iterator[tuple[int, bytes]]:
        """What rtnetlink told since the last time: (message type, key). Raises TouchedError when some of it was lost.

        The key is the device's name (DELLINK), the packed destination and prefix length (DELROUTE), the device's
        index (DELNEIGH, NEWADDR, DELADDR).
        """
        for data in _drain(self.route):
            for kind, _, _, payload in nl.messages(data):
                yield kind, _key(kind, payload)

    def nftables_changed(self) -> bool:
        """Did anybody change the ruleset since the last time?"""
        try:
            return any(_drain(self.nftables))
        except TouchedError:
            return True


def _drain(source: Netlink) -> Iterator[bytes]:
    while True:
        try:
            yield source.socket.recv(nl.RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as lost:
            if lost.errno == errno.ENOBUFS:
                raise TouchedError from None
            raise


def _key(kind: int, payload: memoryview) -> bytes:
    if kind == rt.RTM_DELLINK:
        return string(nl.attributes(payload, 16).get(rt.IFLA_IFNAME)).encode()
    if kind == rt.RTM_DELROUTE:
        return nl.attributes(payload, 12).get(rt.RTA_DST, b"") + bytes(payload[1:2])
    return bytes(payload[4:8])


def route_key(packed: bytes, prefix: int) -> bytes:
    """The key of a route's deletion."""
    return packed + bytes([prefix])


def index_of_key(key: bytes) -> int:
    """The device's index that a key tells."""
    return number(key)


class FileWatch:
    """Tells when files in a folder are written, renamed or removed (inotify(7)); `descriptor` becomes readable."""

    def __init__(self, folder: Path) -> None:
        self.descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_CREATE
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask) < 0:
            failed = ctypes.get_errno()
            raise OSError(failed, os.strerror(failed), str(folder))

    def drain(self) -> None:
        """Forget what was told so far."""
        try:
            while os.read(self.descriptor, 4096):
                pass
        except BlockingIOError:
            return
