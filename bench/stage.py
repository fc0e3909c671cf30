"""The stage that every plug-in plays on: one network namespace as the node, others as pods, all nameless.

Namespaces are held by descriptors only (`/proc/PID/fd/N` is their path), so whatever ends the benchmark, also
SIGKILL, ends them too. Only for a process with one thread: it moves itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000  # linux/sched.h
PR_SET_PDEATHSIG = 1
OWN_NAMESPACE = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent() -> None:
    """In a child before exec: SIGKILL for it when the benchmark ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0))


def enter_host() -> None:
    """Move this process into a fresh namespace that plays the node; raise the limit of descriptors."""
    _checked(_libc.unshare(CLONE_NEWNET))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    return Pod(_serial, os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC))


@contextmanager
def pods(count: int) -> Iterator[list[Pod]]:
    """`count` fresh sandboxes; they vanish at the end, with whatever is still in them."""
    home = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    made: list[Pod] = []
    try:
        try:
            made.extend(_new_pod() for _ in range(count))
        finally:
            _checked(_libc.setns(home, CLONE_NEWNET))
        yield made
    finally:
        os.close(home)
        for pod in made:
            os.close(pod.descriptor)
