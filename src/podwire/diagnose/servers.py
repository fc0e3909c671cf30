"""Servers in the endpoints' namespaces that answer everybody with the source address they saw; one thread for all.

They live as long as the check: their sockets are this process', so they end with it, whatever ends it.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.namespaces import Crew, Places
from podwire.diagnose.packets import TOKEN_BYTES
from podwire.ip import Address
from podwire.netlink.constants import IP_FREEBIND, IPV6_FREEBIND

BACKLOG = 256
DATAGRAM_BYTES = 2048
Key = tuple[str, Address]


class Servers:
    """A TCP and a UDP server at each of the given addresses, on free ports.

    `ports` has (TCP port, UDP port) by the endpoint's name and its address.
    """

    def __init__(self, places: Places, crew: Crew, wanted: Iterable[tuple[Endpoint, Address]]) -> None:
        self.ports: dict[Key, tuple[int, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        keys = [(endpoint.name, address) for endpoint, address in wanted if endpoint.name in places]
        for key, pair in zip(keys, crew.all([(name, partial(_open, address)) for name, address in keys]), strict=True):
            self._sockets += pair
            for one in pair:
                self._selector.register(one, selectors.EVENT_READ)
            self.ports[key] = (pair[0].getsockname()[1], pair[1].getsockname()[1])
        self._wake, wake = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._waker = wake
        self._thread = threading.Thread(target=self._serve, daemon=True, name="servers")
        self._thread.start()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and close all sockets."""
        os.close(self._waker)
        self._thread.join()
        self._selector.close()
        os.close(self._wake)
        for one in self._sockets:
            one.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._wake:
                    return
                server = key.fileobj
                assert isinstance(server, socket.socket)
                with suppress(OSError):  # a client that left, an answer that has no way back: the probe tells
                    _answer(server)


def _answer(server: socket.socket) -> None:
    if server.type == socket.SOCK_STREAM:
        connection, peer = server.accept()
        with connection:
            connection.sendall(peer[0].encode())
        return
    data, peer = server.recvfrom(DATAGRAM_BYTES)
    server.sendto(data[:TOKEN_BYTES] + peer[0].encode(), peer)


def _open(address: Address) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # An address that is not there yet, or not any more, is for the probes to find out.
    anyhow = (socket.IPPROTO_IP, IP_FREEBIND) if address.version == 4 else (socket.IPPROTO_IPV6, IPV6_FREEBIND)
    opened = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        one = socket.socket(family, kind)
        one.setsockopt(*anyhow, 1)
        one.bind((str(address), 0))
        one.setblocking(False)
        opened.append(one)
    opened[0].listen(BACKLOG)
    return opened[0], opened[1]
