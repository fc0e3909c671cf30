"""What the shim and the agent say to each other: one message each way (version 1; `shim/podwire.c` is the other end).

Request: magic, flags, sizes; CNI_* variables as `KEY=VALUE\\0`; standard input, or its descriptor when it is large.
Reply: magic, flags, exit status, size; the body, or its descriptor when it is large.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Mapping

from msgspec import Struct

REQUEST_MAGIC, REPLY_MAGIC = b"PWR1", b"PWA1"
HEADER = struct.Struct("=4sIII")
INLINE_BYTES = 64 * 1024
STDIN_BYTES = 32 * 1024 * 1024
HAS_NETNS, LARGE, TO_STDERR = 1, 2, 1
DESCRIPTORS = 2
DESCRIPTOR_SPACE = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)


class ProtocolError(Exception):
    """The other end does not speak this protocol."""


class Received(Struct):
    """A request as it came; whoever received it closes `netns` (-1: none came)."""

    environment: Mapping[str, str]
    stdin: bytes
    netns: int


def receive(connection: socket.socket) -> Received | None:
    """Read the request; None if the other end closed without one. Raises ProtocolError, OSError."""
    data, ancillary, _, _ = connection.recvmsg(INLINE_BYTES + 4096, DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    if not data and not descriptors:
        return None
    try:
        if len(data) < HEADER.size:
            raise ProtocolError(f"a request of {len(data)} bytes")
        magic, flags, environment_bytes, stdin_bytes = HEADER.unpack_from(data)
        if magic != REQUEST_MAGIC:
            raise ProtocolError(f"magic {magic!r}")
        netns = descriptors.pop(0) if flags & HAS_NETNS and descriptors else -1
        start = HEADER.size + environment_bytes
        stdin = data[start:]
        if flags & LARGE and descriptors:
            stdin = _read_whole(descriptors.pop(), stdin_bytes)
        if len(stdin) != stdin_bytes:
            if netns >= 0:
                os.close(netns)
            raise ProtocolError(f"{len(stdin)} bytes of standard input, {stdin_bytes} announced")
        return Received(_environment(data[HEADER.size : start]), stdin, netns)
    finally:
        for one in descriptors:
            os.close(one)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
    return list(found)


def _environment(block: bytes) -> dict[str, str]:
    pairs = (part.partition(b"=") for part in block.split(b"\0") if part)
    return {key.decode(errors="surrogateescape"): value.decode(errors="surrogateescape") for key, _, value in pairs}


def _read_whole(descriptor: int, size: int) -> bytes:
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if size > STDIN_BYTES:
            raise ProtocolError(f"{size} bytes of standard input")
        return os.pread(file.fileno(), size, 0)


def send_reply(connection: socket.socket, status: int, body: bytes, *, to_stderr: bool = False) -> None:
    """Send the reply; raises OSError when the other end is gone."""
    flags = TO_STDERR if to_stderr else 0
    if len(body) <= INLINE_BYTES:
        connection.send(HEADER.pack(REPLY_MAGIC, flags, status, len(body)) + body, socket.MSG_NOSIGNAL)
        return
    descriptor = os.memfd_create("podwire-reply")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(body)
        message = HEADER.pack(REPLY_MAGIC, flags | LARGE, status, len(body))
        socket.send_fds(connection, [message], [descriptor], socket.MSG_NOSIGNAL)
    finally:
        os.close(descriptor)
