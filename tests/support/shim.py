# SPDX-License-Identifier: Apache-2.0
"""The native shim as tests drive it: two builds, the one-shot stamp, an agent that the test writes."""

from __future__ import annotations

import array
import functools
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hatch_build

STAMP_MARKER = b"PODWIRE-ONESHOT-ARGV-v1\n"
MESSAGE_BYTES = 64 * 1024
INPUT_BYTES_MAX = 32 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
HEADER = struct.Struct("=4sIII")

REQUEST_NETNS, REQUEST_INPUT_MEMFD = 1, 2
REPLY_TO_STDERR, REPLY_BODY_MEMFD = 1, 2

SANITIZE = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
SANITIZED_ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99", "UBSAN_OPTIONS": "print_stacktrace=1"}
BUILDS = ("static", "sanitized")


@functools.cache
def build(kind: str) -> Path:
    """The shim as it is shipped ("static"), or dynamic with AddressSanitizer and UBSan; made once."""
    target = Path(tempfile.mkdtemp(prefix="pwt-shim-")) / "podwire"
    if kind == "static":
        hatch_build.compile_static(hatch_build.SOURCES, target)
    else:
        flags = [flag for flag in hatch_build.FLAGS if flag not in ("-static", "-s")]
        sources = map(str, hatch_build.SOURCES)
        subprocess.run(["gcc", *flags, *SANITIZE, "-o", str(target), *sources], check=True, timeout=120)
    return target


def remove_builds() -> None:
    """Delete what `build` made."""
    for kind in BUILDS:
        shutil.rmtree(build(kind).parent, ignore_errors=True)
    build.cache_clear()


def stamped(binary: Path, target: Path, argv: Iterable[str]) -> Path:
    """A copy of `binary` at `target` whose one-shot path is `argv`."""
    content = bytearray(binary.read_bytes())
    at = content.index(STAMP_MARKER) + len(STAMP_MARKER)
    stamp = b"".join(argument.encode() + b"\0" for argument in argv) + b"\0"
    content[at : at + len(stamp)] = stamp
    target.write_bytes(content)
    target.chmod(0o755)
    return target


def run(
    binary: Path,
    environment: Mapping[Any, str | bytes],
    stdin: bytes | int = b"",
    stdout: int = subprocess.PIPE,
    wrapper: Iterable[str] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Execute the shim with exactly this environment; fails when a sanitizer spoke.

    `stdin` is what it reads, or a descriptor to read from; `wrapper` is a command that executes the shim.
    """
    source: dict[str, Any] = {"stdin": stdin} if isinstance(stdin, int) else {"input": stdin}
    done = subprocess.run(
        [*wrapper, str(binary)],
        env={**SANITIZED_ENVIRONMENT, **environment},
        timeout=TIMEOUT_SECONDS,
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        **source,
    )
    assert_clean(done.stderr)
    return done


def assert_clean(stderr: bytes) -> None:
    """Neither AddressSanitizer nor UBSan reported anything."""
    assert b"Sanitizer" not in stderr and b"runtime error" not in stderr, stderr.decode(errors="replace")


@dataclass(frozen=True)
class Request:
    """One request as the agent reads it."""

    flags: int
    environment: tuple[bytes, ...]
    stdin: bytes
    netns_inode: int | None


def read_request(connection: socket.socket) -> Request:
    """Take the request's one message apart; asserts that its parts have the lengths its header says."""
    message, fds, message_flags, _ = socket.recv_fds(connection, 2 * MESSAGE_BYTES, 4)
    try:
        assert message_flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) == 0
        magic, flags, environment_bytes, stdin_bytes = HEADER.unpack_from(message)
        assert magic == b"PWR1"
        assert len(fds) == bool(flags & REQUEST_NETNS) + bool(flags & REQUEST_INPUT_MEMFD)
        end = HEADER.size + environment_bytes
        stdin = message[end:]
        if flags & REQUEST_INPUT_MEMFD:
            assert stdin == b""
            stdin = os.pread(fds[-1], stdin_bytes + 1, 0)
        assert len(stdin) == stdin_bytes
        block = message[HEADER.size : end]
        assert block == b"" or block.endswith(b"\0")
        inode = os.fstat(fds[0]).st_ino if flags & REQUEST_NETNS else None
        return Request(flags, tuple(block.split(b"\0")[:-1]), stdin, inode)
    finally:
        for fd in fds:
            os.close(fd)


def reply(body: bytes, status: int = 0, flags: int = 0) -> bytes:
    """A reply's bytes, the body inline."""
    return HEADER.pack(b"PWA1", flags, status, len(body)) + body


def send_memfd_reply(connection: socket.socket, body: bytes, claimed_bytes: int | None = None) -> None:
    """A reply whose body lies in a memfd, its length as it is or as `claimed_bytes` says."""
    fd = os.memfd_create("reply")
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(body)
        length = len(body) if claimed_bytes is None else claimed_bytes
        header = HEADER.pack(b"PWA1", REPLY_BODY_MEMFD, 0, length)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        connection.sendmsg([header], rights)
    finally:
        os.close(fd)


class FakeAgent:
    """Listens at `folder`/agent.sock, keeps each request, and lets the test's `answer` do what it likes."""

    def __init__(self, folder: Path, answer: Callable[[socket.socket], object]) -> None:
        self.path = folder / "agent.sock"
        self.requests: list[Request] = []
        self.errors: list[BaseException] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def environment(self) -> dict[str, str]:
        """What leads the shim here."""
        return {"PODWIRE_SOCKET": str(self.path)}

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # shut down by __exit__
            with connection:
                try:
                    self.requests.append(read_request(connection))
                    self._answer(connection)
                except BaseException as error:  # noqa: BLE001  told to the test by __exit__
                    self.errors.append(error)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT_SECONDS)
        assert not self.errors
