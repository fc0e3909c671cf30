# SPDX-License-Identifier: Apache-2.0
"""Captures the packets of probes on all devices of the namespaces on their path (packet(7))."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress

from podwire.diagnose.drop_point import CapturedPacket
from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool
from podwire.diagnose.packets import TOKEN_PREFIX, parse_frame
from podwire.netlink.constants import ARPHRD_ETHER, ARPHRD_LOOPBACK, ETH_P_ALL, SO_RCVBUFFORCE

BUFFER_BYTES = 8 << 20
HEAD_BYTES = 320
ETHERNET_KINDS = (ARPHRD_ETHER, ARPHRD_LOOPBACK)
MAX_BATCH = 10_000


class Capture:
    """Captures packets with a probe's token, and TCP packets of the given ports, in the namespaces of endpoints.

    A packet in a namespace that several endpoints share is recorded for each of them.
    """

    def __init__(
        self, namespaces: Namespaces, pool: NamespaceThreadPool, names: Iterable[str], ports: Collection[int]
    ) -> None:
        self.packets: list[CapturedPacket] = []
        self._ports = {port.to_bytes(2, "big") for port in ports}
        distinct = namespaces.distinct(names)
        opened = pool.run_all([(name, _open) for name in distinct])
        self._sockets = dict(zip(opened, distinct.values(), strict=True))
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._listen, daemon=True, name="capture")
        self._thread.start()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._waker)
        self._thread.join()
        os.close(self._wake)
        for packet_socket in self._sockets:
            packet_socket.close()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN | select.POLLHUP)
        by_number = {packet_socket.fileno(): packet_socket for packet_socket in self._sockets}
        for number in by_number:
            poll.register(number, select.POLLIN)
        while True:
            ready = [number for number, _ in poll.poll()]
            for number in ready:
                with suppress(BlockingIOError, OSError):
                    for _ in range(MAX_BATCH if number in by_number else 0):
                        self._take(by_number[number])
            if self._wake in ready:
                return

    def _take(self, source: socket.socket) -> None:
        data, (device, _, direction, kind, *_) = source.recvfrom(HEAD_BYTES)
        if TOKEN_PREFIX not in data and not any(port in data for port in self._ports):
            return
        packet = parse_frame(data, ethernet=kind in ETHERNET_KINDS)
        if packet is not None:
            outgoing, other_mac = direction == socket.PACKET_OUTGOING, direction == socket.PACKET_OTHERHOST
            for name in self._sockets[source]:
                self.packets.append(CapturedPacket(name, device, outgoing, packet, other_mac))


def _open() -> socket.socket:
    packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
    with suppress(OSError):
        packet_socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    return packet_socket
