# SPDX-License-Identifier: Apache-2.0
"""What the plugin and the agent send each other: one message each way (version 1; `shim/podwire.c` is the other end).

Request: magic, flags, sizes; CNI_* variables as `KEY=VALUE\\0`; standard input, or its descriptor when it is large.
Reply: magic, flags, exit status, size; the body, or its descriptor when it is large.
A query (of `podwire status`, of the agent's own health check) has another magic and one word; the reply is JSON.
"""

from __future__ import annotations

import _socket
import array
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

Connection = _socket.socket
"""The class below `socket.socket`, whose `accept` takes 36 µs instead of 6."""

REQUEST_MAGIC, REPLY_MAGIC, QUERY_MAGIC = b"PWR1", b"PWA1", b"PWQ1"
HEADER = struct.Struct("=4sIII")
INLINE_BYTES = 64 * 1024
STDIN_BYTES = 32 * 1024 * 1024
HAS_NETNS, LARGE, TO_STDERR = 1, 2, 1
PING = "ping"
RECEIVE_TIMEOUT = struct.pack("ll", 5, 0)
"""A `struct timeval`."""

NO_WAIT = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
DESCRIPTORS = 2
DESCRIPTOR_SPACE = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)


class ProtocolError(Exception):
    """The other end does not speak this protocol."""


class Received(Struct):
    """A request; the caller of `receive` closes `netns` (-1: none came). A `query` has no other fields."""

    environment: Mapping[str, str]
    stdin: bytes
    netns: int
    query: str = ""


def receive(connection: Connection) -> Received | None:
    """Read the request, which usually is there already; None if the other end closed without sending one.

    Raises ProtocolError, and OSError also when no request comes in time.
    """
    try:
        data, ancillary, _, _ = connection.recvmsg(INLINE_BYTES + 4096, DESCRIPTOR_SPACE, NO_WAIT)
    except BlockingIOError:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, RECEIVE_TIMEOUT)
        data, ancillary, _, _ = connection.recvmsg(INLINE_BYTES + 4096, DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    if not data and not descriptors:
        return None
    try:
        if len(data) < HEADER.size:
            raise ProtocolError(f"a request of {len(data)} bytes")
        magic, flags, environment_bytes, stdin_bytes = HEADER.unpack_from(data)
        if magic == QUERY_MAGIC:
            return Received({}, b"", -1, data[HEADER.size :].decode(errors="replace") or "?")
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
        for descriptor in descriptors:
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found += memoryview(payload[: len(payload) & ~3]).cast("i")
    return found


def _environment(block: bytes) -> dict[str, str]:
    text = block.decode(errors="surrogateescape")
    return dict([part.partition("=")[::2] for part in text.split("\0") if part])


def _read_whole(descriptor: int, size: int) -> bytes:
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if size > STDIN_BYTES:
            raise ProtocolError(f"{size} bytes of standard input")
        return os.pread(file.fileno(), size, 0)


def send_reply(connection: Connection, status: int, body: bytes, *, to_stderr: bool = False) -> None:
    """Send the reply; raises OSError when the other end is gone."""
    flags = TO_STDERR if to_stderr else 0
    if len(body) <= INLINE_BYTES:
        connection.send(HEADER.pack(REPLY_MAGIC, flags, status, len(body)) + body, socket.MSG_NOSIGNAL)
        return
    with os.fdopen(os.memfd_create("podwire-reply"), "wb") as file:
        file.write(body)
        file.flush()
        message = HEADER.pack(REPLY_MAGIC, flags | LARGE, status, len(body))
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
        connection.sendmsg([message], [rights], socket.MSG_NOSIGNAL)


def query(path: Path, word: str, timeout_seconds: float) -> bytes:
    """The answer of the agent that serves `path`. Raises ProtocolError, OSError (TimeoutError among them)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.send(HEADER.pack(QUERY_MAGIC, 0, 0, 0) + word.encode())
        data, ancillary, _, _ = connection.recvmsg(INLINE_BYTES + 4096, DESCRIPTOR_SPACE, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    try:
        if len(data) < HEADER.size:
            raise ProtocolError("it does not know the query: it is older than this program")
        magic, flags, status, size = HEADER.unpack_from(data)
        if magic != REPLY_MAGIC or status:
            raise ProtocolError("it does not answer the query: it has another version")
        return _read_whole(descriptors.pop(), size) if flags & LARGE and descriptors else data[HEADER.size :]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
