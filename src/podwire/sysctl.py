# SPDX-License-Identifier: Apache-2.0
"""Kernel settings in /proc/sys, in the namespaces of the calling thread (sysctl(8))."""

from __future__ import annotations

import os

ROOT = os.environ.get("PODWIRE_PROC_SYS") or "/proc/sys"
"""In a container, /proc/sys is read-only, so the node's may be mounted elsewhere. Wherever it is, `net` shows each
thread the settings of the thread's network namespace."""


def read(path: str) -> str | None:
    """The value of a setting such as `net/ipv4/ip_forward`, or None if the kernel has no such setting: sysctl -n PATH

    Raises OSError, also if the root has no `net`: then the mount is missing.
    """
    try:
        descriptor = os.open(f"{ROOT}/{path}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not os.path.isdir(f"{ROOT}/net"):
            raise
        return None
    try:
        return os.read(descriptor, 4096).decode().strip()
    finally:
        os.close(descriptor)


def ensure(path: str, value: str) -> bool:
    """Set a setting to `value`; True if it was changed. Raises OSError."""
    if read(path) in (value, None):
        return False
    write(path, value)
    return True


def write(path: str, value: str) -> None:
    """Write a setting; raises OSError: sysctl -w PATH=VALUE"""
    descriptor = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)
