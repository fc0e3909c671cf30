# SPDX-License-Identifier: Apache-2.0
"""Network namespaces without names, for nodes and pods.

Only descriptors keep them (`/proc/PID/fd/N` is their path), so they end with the benchmark, also after SIGKILL. The
process enters them itself, so it must have one thread.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podwire.netlink.constants import CLONE_NEWNET, PR_SET_PDEATHSIG

LIMIT_SECONDS = 60.0
OWN_NAMESPACE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent() -> None:
    """In a child before exec: the kernel sends it SIGKILL when the benchmark ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))


@contextmanager
def host() -> Iterator[int]:
    """Enter a new namespace for a node, with the highest limit of descriptors, and leave it again; its descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with new() as node:
        run("ip", "link", "set", "lo", "up")
        yield node


@contextmanager
def new() -> Iterator[int]:
    """Enter a new network namespace and leave it again; its descriptor."""
    home = open_own()
    node = -1
    try:
        _checked(_libc.unshare(CLONE_NEWNET))
        node = open_own()
        yield node
    finally:
        enter(home)
        os.close(home)
        if node >= 0:
            os.close(node)


def open_own() -> int:
    """A descriptor of the network namespace that this process is in."""
    return os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


def enter(descriptor: int) -> None:
    """Move this process into a network namespace; raises OSError."""
    _checked(_libc.setns(descriptor, CLONE_NEWNET))


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """Enter a network namespace and leave it again."""
    home = open_own()
    try:
        enter(descriptor)
        yield
    finally:
        enter(home)
        os.close(home)


def run(*argv: str) -> None:
    """Run a command in the namespace of this process; raises CalledProcessError."""
    subprocess.run(argv, check=True)


def wait_until(true: Callable[[], bool]) -> None:
    """Poll until the condition is true; raises TimeoutError."""
    until = time.monotonic() + LIMIT_SECONDS
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"the condition is not true after {LIMIT_SECONDS:.0f} s")
        time.sleep(0.002)


@dataclass(frozen=True)
class Pod:
    """A sandbox: its number (unique in a run) and the descriptor of its namespace."""

    serial: int
    descriptor: int

    @property
    def container_id(self) -> str:
        """64 hexadecimal digits, as of a real runtime."""
        return f"{self.serial:064x}"

    @property
    def path(self) -> str:
        """CNI_NETNS."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"


_serial = 0


def _new_pod() -> Pod:
    global _serial  # noqa: PLW0603  a number is used once in a run
    _serial += 1
    _checked(_libc.unshare(CLONE_NEWNET))
    return Pod(_serial, open_own())


@contextmanager
def pods(count: int) -> Iterator[list[Pod]]:
    """`count` new sandboxes; the kernel deletes them and all devices in them at the end."""
    home = open_own()
    made: list[Pod] = []
    try:
        try:
            made.extend(_new_pod() for _ in range(count))
        finally:
            enter(home)
        yield made
    finally:
        os.close(home)
        for pod in made:
            os.close(pod.descriptor)
