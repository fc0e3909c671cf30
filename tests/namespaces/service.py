# SPDX-License-Identifier: Apache-2.0
"""A service in a pod that tells its name and who asked, and one question to it; SCTP where the kernel has it."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.support.namespace import Namespace, wait_until

SERVE = """
import socket, sys, threading
name, port = sys.argv[1].encode(), int(sys.argv[2])
def plain(caller): return caller[0].removeprefix("::ffff:").encode()
def datagrams():
    while True:
        _, caller = udp.recvfrom(2048)
        udp.sendto(name + b" " + plain(caller), caller)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.bind(("::", port))
tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
def streams(listener):
    while True:
        connection, caller = listener.accept()
        with connection:
            connection.sendall(name + b" " + plain(caller))
threading.Thread(target=datagrams, daemon=True).start()
try:
    sctp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    sctp.bind(("::", port))
    sctp.listen()
    threading.Thread(target=streams, args=(sctp,), daemon=True).start()
except OSError:
    pass
print("ready", flush=True)
streams(tcp)
"""

ASK = """
import socket, sys
protocol, address = sys.argv[1:3]
port, source, limit = int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])
kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
number = socket.IPPROTO_SCTP if protocol == "sctp" else 0
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind, number) as asking:
    asking.settimeout(limit)
    try:
        if source:
            asking.bind(("", source))
        asking.connect((address, port))
        if protocol == "udp":
            asking.send(b"?")
        print(asking.recv(2048).decode())
    except OSError as refused:
        print("nothing", refused)
"""
NOTHING = "nothing"


class Service:
    """The service, from its start until the test's end; it answers when the constructor returns."""

    def __init__(self, pod: Namespace, name: str, port: int = 80) -> None:
        self._process = pod.popen(sys.executable, "-c", SERVE, name, str(port))
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def ask(
    source: Namespace, protocol: str, address: str, port: int, own_port: int = 0, limit_seconds: float = 10.0
) -> list[str]:
    """`[name, caller]` as the service tells, or `["nothing", …]` where nobody answers."""
    words = [protocol, address, str(port), str(own_port), str(limit_seconds)]
    done: subprocess.CompletedProcess[str] = source.run(sys.executable, "-c", ASK, *words)
    return done.stdout.split()


def answered_by(source: Namespace, protocol: str, address: str, port: int, own_port: int = 0) -> str:
    """The name of the service that answers, asked until one does; "nothing" if none ever does."""
    answer = [NOTHING]

    def asked() -> bool:
        nonlocal answer
        answer = ask(source, protocol, address, port, own_port, limit_seconds=1.0)
        return answer[0] != NOTHING

    return answer[0] if wait_until(asked, timeout_seconds=15.0) else NOTHING
