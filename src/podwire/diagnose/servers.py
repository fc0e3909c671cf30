# SPDX-License-Identifier: Apache-2.0
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

from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool
from podwire.diagnose.packets import TOKEN_BYTES
from podwire.ip import Address
from podwire.netlink import message as nl
from podwire.netlink.constants import IP_FREEBIND, IPV6_FREEBIND

BACKLOG = 256
DATAGRAM_BYTES = 2048
Key = tuple[str, Address]


class Servers:
    """TCP and UDP servers on the addresses of endpoints with a namespace; `ports` are their free ports, (TCP, UDP)."""

    def __init__(self, namespaces: Namespaces, pool: NamespaceThreadPool, wanted: Iterable[Key]) -> None:
        self._selector = selectors.DefaultSelector()
        keys = [(name, address) for name, address in wanted if name in namespaces]
        pairs = pool.run_all([(name, partial(_open, address)) for name, address in keys])
        self.ports = {
            key: (tcp.getsockname()[1], udp.getsockname()[1]) for key, (tcp, udp) in zip(keys, pairs, strict=True)
        }
        self._sockets = [server for pair in pairs for server in pair]
        self._wake, self._waker = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ)
        for server in self._sockets:
            self._selector.register(server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True, name="servers")
        self._thread.start()

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
    # If the address does not exist, the probes report it.
    freebind = (socket.IPPROTO_IP, IP_FREEBIND) if address.version == 4 else (socket.IPPROTO_IPV6, IPV6_FREEBIND)
    opened = []
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        server = socket.socket(nl.family(address.version), kind)
        server.setsockopt(*freebind, 1)
        server.bind((str(address), 0))
        server.setblocking(False)
        opened.append(server)
    opened[0].listen(BACKLOG)
    return opened[0], opened[1]
