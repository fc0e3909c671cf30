"""The stage that everything plays on: network namespaces as nodes, others as pods, all nameless.

Namespaces are held by descriptors only (`/proc/PID/fd/N` is their path), so whatever ends the benchmark, also
SIGKILL, ends them too. Only for a process with one thread: it moves itself.
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
    """In a child before exec: SIGKILL for it when the benchmark ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))


@contextmanager
def host() -> Iterator[int]:
    """Be in a fresh namespace that plays the node, with all the descriptors that a process may have, then at home
    again; a descriptor of the node's namespace."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with away() as node:
        run("ip", "link", "set", "lo", "up")
        yield node


@contextmanager
def away() -> Iterator[int]:
    """Be in a fresh network namespace, then in the one before again; a descriptor of the fresh one."""
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
    """Be in a network namespace, then back where this process was."""
    home = open_own()
    try:
        enter(descriptor)
        yield
    finally:
        enter(home)
        os.close(home)


def run(*argv: str) -> None:
    """A command in the namespace where this process is; raises CalledProcessError."""
    subprocess.run(argv, check=True)


def wait_until(true: Callable[[], bool]) -> None:
    """Poll until it holds; raises TimeoutError."""
    until = time.monotonic() + LIMIT_SECONDS
    while not true():
        if time.monotonic() > until:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.002)


@dataclass(frozen=True)
class Pod:
    """A sandbox: its number (unique in a run) and the descriptor that holds its namespace."""

    serial: int
    descriptor: int

    @property
    def container_id(self) -> str:
        """As long as a real one: 64 hexadecimal digits."""
        return f"{self.serial:064x}"

    @property
    def path(self) -> str:
        """CNI_NETNS."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"


_serial = 0


def _new_pod() -> Pod:
    global _serial  # noqa: PLW0603  numbers must never come back within a run
    _serial += 1
    _checked(_libc.unshare(CLONE_NEWNET))
    return Pod(_serial, open_own())


@contextmanager
def pods(count: int) -> Iterator[list[Pod]]:
    """`count` fresh sandboxes; they vanish at the end, with whatever is still in them."""
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
