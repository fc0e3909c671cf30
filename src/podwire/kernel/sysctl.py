"""Kernel settings below /proc/sys, as the calling thread's namespaces have them (sysctl(8))."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/proc/sys")


def read(path: str) -> str | None:
    """The value of a setting such as `net/ipv4/ip_forward`, or None where the kernel has none of that name."""
    try:
        return (ROOT / path).read_text().strip()
    except FileNotFoundError:
        return None


def ensure(path: str, value: str) -> bool:
    """Make a setting hold `value`; True if it had to be changed. Raises OSError.

    Equals `sysctl -w <path>=<value>`.
    """
    if read(path) in (value, None):
        return False
    (ROOT / path).write_text(value)
    return True
