"""Kernel settings below /proc/sys, as the calling thread's namespaces have them (sysctl(8))."""

from __future__ import annotations

import os

ROOT = os.environ.get("PODWIRE_PROC_SYS") or "/proc/sys"
"""In a container /proc/sys is read-only, and nothing may be mounted into /proc: the node's is then mounted elsewhere.

It is one tree wherever it is mounted: below `net`, it shows each thread the network namespace that the thread is in.
"""

VALUE_BYTES = 4096


def read(path: str) -> str | None:
    """The value of a setting such as `net/ipv4/ip_forward`, or None where the kernel has none of that name.

    Raises OSError, also where there are no settings at all: a mount is missing then.
    """
    try:
        descriptor = os.open(f"{ROOT}/{path}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not os.path.isdir(f"{ROOT}/net"):
            raise
        return None
    try:
        return os.read(descriptor, VALUE_BYTES).decode().strip()
    finally:
        os.close(descriptor)


def ensure(path: str, value: str) -> bool:
    """Make a setting hold `value`; True if it had to be changed. Raises OSError.

    Equals `sysctl -w <path>=<value>`.
    """
    if read(path) in (value, None):
        return False
    write(path, value)
    return True


def write(path: str, value: str) -> None:
    """Write a setting; raises OSError."""
    descriptor = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
