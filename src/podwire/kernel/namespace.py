"""Network namespaces: which one a descriptor is, and sockets and files opened inside another one.

setns(2) changes the calling thread alone. Nothing here may run on a thread that an event loop owns, and
nothing may be awaited between going in and coming back.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl

from podwire.kernel import sysctl
from podwire.kernel.netlink import NETLINK_ROUTE, Netlink

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
EX_OSERR = 71

libc = ctypes.CDLL(None, use_errno=True)


def setns(descriptor: int) -> None:
    """Move the calling thread into the network namespace of `descriptor` (setns(2)); raises OSError."""
    if libc.setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_network_namespace(descriptor: int) -> bool:
    """Is it a network namespace (ioctl_ns(2), NS_GET_NSTYPE)?"""
    try:
        return ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        return False


def identity(descriptor: int) -> tuple[int, int]:
    """(device, inode): equal for two descriptors of one namespace, and only then."""
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def open_own() -> int:
    """A descriptor of the calling thread's network namespace."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside(descriptor: int, home: int) -> Iterator[None]:
    """Be in the namespace of `descriptor`, then in `home` again.

    A thread that cannot come home would do the next pod's work in this pod's namespace: the process ends
    (it keeps no state, so its successor loses nothing).
    """
    setns(descriptor)
    try:
        yield
    finally:
        try:
            setns(home)
        except OSError:
            os._exit(EX_OSERR)


def netlink_inside(descriptor: int, home: int, family: int = NETLINK_ROUTE) -> Netlink:
    """A netlink socket that lives in the namespace of `descriptor`."""
    with inside(descriptor, home):
        return Netlink(family)


def write_sysctl_inside(descriptor: int, home: int, path: str, value: str) -> None:
    """Write `/proc/sys/<path>` as the namespace of `descriptor` has it; raises OSError."""
    with inside(descriptor, home):
        sysctl.write(path, value)
