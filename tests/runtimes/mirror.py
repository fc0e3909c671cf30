# SPDX-License-Identifier: Apache-2.0
"""A server somewhere in the lab that tells each caller the address it sees: shows whether a source was masqueraded."""

from __future__ import annotations

import ipaddress
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from podwire_lab.netns import socket_in

PORT = 7777
POLL_SECONDS = 0.2
ASK_TIMEOUT_SECONDS = 10.0


class Mirror:
    """Serves TCP on all addresses of a network namespace, both families, from its beginning to `close`."""

    def __init__(self, netns: Path, port: int = PORT) -> None:
        self._listener = _listen(netns, port)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"mirror in {netns.name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                caller, (host, *_) = self._listener.accept()
                with caller, suppress(OSError):  # a caller that hangs up needs no answer
                    caller.sendall(f"{_plain(host)}\n".encode())

    def close(self) -> None:
        """Serve no longer; may be called twice."""
        self._closing.set()
        self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plain(host: str) -> str:
    """An IPv4 caller of an IPv6 socket as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


def ask(netns: Path, address: str, port: int = PORT) -> str:
    """What the mirror at an address sees when it is called from a network namespace; raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket_in(netns, family) as caller:
        caller.settimeout(ASK_TIMEOUT_SECONDS)
        caller.connect((address, port))
        with caller.makefile() as answer:
            return answer.read().strip()


def _listen(netns: Path, port: int) -> socket.socket:
    """A socket that listens there, for both families."""
    listener = socket_in(netns, socket.AF_INET6)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", port))
    listener.listen(64)
    listener.settimeout(POLL_SECONDS)
    return listener
