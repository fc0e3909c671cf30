# SPDX-License-Identifier: Apache-2.0
"""A netlink socket: sends messages, receives answers, raises the kernel's errors (netlink(7))."""

from __future__ import annotations

import errno
import os
import struct
from _socket import AF_NETLINK, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_RAW, socket
from collections.abc import Sequence
from fcntl import ioctl
from time import perf_counter

from podwire.netlink import constants as c
from podwire.netlink.message import ACK, PADDING, messages, parse_error

ACK_BYTES, RECEIVE_BYTES = 8 * 1024, 64 * 1024
DUMP_ATTEMPTS = 8


class NetlinkError(OSError):
    """The kernel refused a message: `errno`, the extended ack message as `strerror`, its position in the batch."""

    def __init__(self, number: int, message: str = "", position: int = 0) -> None:
        super().__init__(number, message or os.strerror(number))
        self.position = position


class Netlink:
    """A netlink socket in the network namespace in which it was opened. One thread at a time.

    `socket` is `_socket.socket`: loading the module `socket` takes a tenth of the time of a one-shot process.
    Errors come with a message (extended ack), except where `without_extended_ack` saves the system calls for it.
    `busy_seconds` is the time spent in the kernel so far: a send returns when the kernel has done the work.
    """

    def __init__(self, family: int = NETLINK_ROUTE, groups: int = 0, *, without_extended_ack: bool = False) -> None:
        self.socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family)
        self.sequence = 0
        self.busy_seconds = 0.0
        if without_extended_ack:
            return
        self.socket.setsockopt(c.SOL_NETLINK, c.NETLINK_CAP_ACK, 1)
        self.socket.setsockopt(c.SOL_NETLINK, c.NETLINK_EXT_ACK, 1)
        if family == NETLINK_ROUTE and not groups:
            self.socket.setsockopt(c.SOL_NETLINK, c.NETLINK_GET_STRICT_CHK, 1)
        if groups:
            self.socket.bind((0, groups))

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def index(self, name: str) -> int:
        """The index of a device (SIOCGIFINDEX, netdevice(7)); NetlinkError(ENODEV) if there is none."""
        try:  # unlike if_nametoindex(3) it needs no second socket
            answer = ioctl(self.socket, c.SIOCGIFINDEX, struct.pack("=16s24x", name.encode()))
        except OSError as refused:
            raise NetlinkError(refused.errno or errno.ENODEV) from None
        return int.from_bytes(answer[16:20], "little")

    def batch(self, requests: Sequence[bytes]) -> list[NetlinkError]:
        """Send messages with one system call; returns the errors. The kernel tries every message.

        Only the last message requests an acknowledgement: errors are always sent, and in order.
        """
        first = self.sequence + 1
        last = self.sequence = self.sequence + len(requests)
        out = bytearray()
        for number, request in enumerate(requests, first):
            start = len(out)
            out += request
            struct.pack_into("=I", out, start + 8, number)
            out += PADDING[len(request) & 3]
        out[start + 6] |= c.NLM_F_ACK
        return self.exchange(out, first, last)

    def exchange(self, out: bytes | bytearray, first: int, last: int) -> list[NetlinkError]:
        """Send messages with the sequence numbers `first` to `last`; the last one requests an acknowledgement."""
        started = perf_counter()
        self.socket.send(out)
        self.busy_seconds += perf_counter() - started
        errors: list[NetlinkError] = []
        while True:
            data = self.socket.recv(ACK_BYTES)
            _, kind, _, number, _, code = ACK.unpack_from(data)
            if number == last and not code and kind == c.NLMSG_ERROR:
                return errors
            for kind, flags, number, payload in messages(data):
                if kind != c.NLMSG_ERROR or not first <= number <= last:
                    continue
                code, text = parse_error(payload, flags)
                if code:
                    errors.append(NetlinkError(code, text, number - first))
                if number == last:
                    return errors

    def do(self, request: bytes) -> None:
        """Send one message; raises NetlinkError if the kernel refuses it."""
        if errors := self.batch([request]):
            raise errors[0]

    def get(self, request: bytes) -> list[tuple[int, memoryview]]:
        """Read objects: the type and payload of each; an interrupted dump is repeated. Raises NetlinkError."""
        for _ in range(DUMP_ATTEMPTS):
            found, complete = self._get_once(request)
            if complete:
                break
        return found

    def _get_once(self, request: bytes) -> tuple[list[tuple[int, memoryview]], bool]:
        self.sequence += 1
        out = bytearray(request)
        struct.pack_into("=I", out, 8, self.sequence)
        dump = struct.unpack_from("=H", out, 6)[0] & c.NLM_F_DUMP == c.NLM_F_DUMP
        started = perf_counter()
        self.socket.send(out)
        self.busy_seconds += perf_counter() - started
        found: list[tuple[int, memoryview]] = []
        complete = True
        while True:
            for kind, flags, number, payload in messages(self.socket.recv(RECEIVE_BYTES)):
                if number != self.sequence:
                    continue
                complete = complete and not flags & c.NLM_F_DUMP_INTR
                if kind == c.NLMSG_ERROR:
                    code, text = parse_error(payload, flags)
                    if code:
                        raise NetlinkError(code, text)
                    return found, complete
                if kind == c.NLMSG_DONE:
                    return found, complete
                found.append((kind, payload))
                if not dump:
                    return found, complete
