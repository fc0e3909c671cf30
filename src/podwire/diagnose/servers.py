"""Servers in the endpoints' namespaces that answer each client with the source address that they see.

One thread serves all sockets. The sockets belong to this process: the kernel closes them when it ends.
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
from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool
from podwire.diagnose.packets import TOKEN_BYTES
from podwire.ip import Address
from podwire.netlink.constants import IP_FREEBIND, IPV6_FREEBIND

BACKLOG = 256
DATAGRAM_BYTES = 2048
Key = tuple[str, Address]


class Servers:
    """A TCP and a UDP server on each of the given addresses, on free ports.

    `ports` has (TCP port, UDP port) by the endpoint's name and its address.
    """

    def __init__(
        self, namespaces: Namespaces, pool: NamespaceThreadPool, wanted: Iterable[tuple[Endpoint, Address]]
    ) -> None:
        self.ports: dict[Key, tuple[int, int]] = {}
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        keys = [(endpoint.name, address) for endpoint, address in wanted if endpoint.name in namespaces]
        for key, pair in zip(
            keys, pool.run_all([(name, partial(_open, address)) for name, address in keys]), strict=True
        ):
            self._sockets += pair
            for server in pair:
                self._selector.register(server, selectors.EVENT_READ)
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
        """Stop the thread and close all sockets."""
        os.close(self._waker)
        self._thread.join()
        self._selector.close()
        os.close(self._wake)
        for server in self._sockets:
            server.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._wake:
                    return
                server = key.fileobj
                assert isinstance(server, socket.socket)
                with suppress(OSError):  # a client that left, or no route to it: the probe reports it
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
    # If the address does not exist, the probes report it.
    freebind = (socket.IPPROTO_IP, IP_FREEBIND) if address.version == 4 else (socket.IPPROTO_IPV6, IPV6_FREEBIND)
    opened = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        server = socket.socket(family, kind)
        server.setsockopt(*freebind, 1)
        server.bind((str(address), 0))
        server.setblocking(False)
        opened.append(server)
    opened[0].listen(BACKLOG)
    return opened[0], opened[1]
