"""A netlink socket: messages are sent, answers received, the kernel's refusals raised (netlink(7))."""

from __future__ import annotations

import errno
import os
import struct
from _socket import AF_NETLINK, NETLINK_ROUTE, SOCK_CLOEXEC, SOCK_RAW, socket
from collections.abc import Sequence
from fcntl import ioctl
from time import perf_counter

from podwire.netlink import constants as c
from podwire.netlink.message import ACK, PADDING, messages, refusal

ACK_BYTES = 8 * 1024
RECEIVE_BYTES = 64 * 1024
DUMP_ATTEMPTS = 8
SEND_TIMEOUT_SECONDS = 30


class NetlinkError(OSError):
    """The kernel refused a message: `errno`, the kernel's own words (extended ack), the message's place."""

    def __init__(self, number: int, words: str = "", place: int = 0) -> None:
        super().__init__(number, words or os.strerror(number))
        self.words = words
        self.place = place


class Netlink:
    """A netlink socket in the network namespace in which it was opened. One thread at a time.

    `socket` is the plain one beneath Python's: the module `socket` is a tenth of what a process for one call loads.
    The kernel explains its refusals to it, unless it is `laconic`.
    `busy_seconds` is the time spent inside the kernel so far: a send returns when the work is done.
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
        """Close the socket."""
        self.socket.close()

    def index(self, name: str) -> int:
        """The index of a device of this socket's namespace; NetlinkError(ENODEV) if there is none.

        By ioctl SIOCGIFINDEX (netdevice(7)), which unlike if_nametoindex(3) needs no second socket.
        """
        try:
            answer = ioctl(self.socket, c.SIOCGIFINDEX, struct.pack("=16s24x", name.encode()))
        except OSError as refused:
            raise NetlinkError(refused.errno or errno.ENODEV) from None
        number: int = struct.unpack_from("=i", answer, 16)[0]
        return number

    def batch(self, wanted: Sequence[bytes]) -> list[NetlinkError]:
        """Send messages in one go; the refusals, each with its message's place. All are tried.

        Only the last one asks for an acknowledgement: a refusal always comes, and in order.
        """
        first = self.sequence + 1
        last = self.sequence = self.sequence + len(wanted)
        out = bytearray()
        for number, one in enumerate(wanted, first):
            start = len(out)
            out += one
            struct.pack_into("=I", out, start + 8, number)
            out += PADDING[len(one) & 3]
        flags_at = len(out) - ((len(wanted[-1]) + 3) & ~3) + 6
        out[flags_at] |= c.NLM_F_ACK
        return self.exchange(out, first, last)

    def exchange(self, out: bytes | bytearray, first: int, last: int) -> list[NetlinkError]:
        """Send messages that are numbered `first` to `last`, of which the last one asks for an acknowledgement."""
        begun = perf_counter()
        self.socket.send(out)
        self.busy_seconds += perf_counter() - begun
        refused: list[NetlinkError] = []
        while True:
            data = self.socket.recv(ACK_BYTES)
            _, kind, _, number, _, code = ACK.unpack_from(data)
            if number == last and not code and kind == c.NLMSG_ERROR:
                return refused
            for kind, flags, number, payload in messages(data):
                if kind != c.NLMSG_ERROR or not first <= number <= last:
                    continue
                code, words = refusal(payload, flags)
                if code:
                    refused.append(NetlinkError(code, words, number - first))
                if number == last:
                    return refused

    def do(self, one: bytes) -> None:
        """Send one message; raises NetlinkError if the kernel refuses it."""
        if refused := self.batch([one]):
            raise refused[0]

    def get(self, one: bytes) -> list[tuple[int, memoryview]]:
        """Ask for objects: (type, payload) of each. Raises NetlinkError.

        A dump that the kernel marks as interrupted (NLM_F_DUMP_INTR) is asked for again.
        """
        for _ in range(DUMP_ATTEMPTS):
            found, whole = self._get_once(one)
            if whole:
                break
        return found

    def _get_once(self, one: bytes) -> tuple[list[tuple[int, memoryview]], bool]:
        self.sequence += 1
        out = bytearray(one)
        struct.pack_into("=I", out, 8, self.sequence)
        dump = struct.unpack_from("=H", out, 6)[0] & c.NLM_F_DUMP == c.NLM_F_DUMP
        begun = perf_counter()
        self.socket.send(out)
        self.busy_seconds += perf_counter() - begun
        found: list[tuple[int, memoryview]] = []
        whole = True
        while True:
            for kind, flags, number, payload in messages(self.socket.recv(RECEIVE_BYTES)):
                if number != self.sequence:
                    continue
                whole = whole and not flags & c.NLM_F_DUMP_INTR
                if kind == c.NLMSG_ERROR:
                    code, words = refusal(payload, flags)
                    if code:
                        raise NetlinkError(code, words)
                    return found, whole
                if kind == c.NLMSG_DONE:
                    return found, whole
                found.append((kind, payload))
                if not dump:
                    return found, whole
