# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: their identity, and sockets and files that are opened inside another namespace.

setns(2) moves the calling thread only. The functions that enter a namespace return to the thread's own before they
return. Do not call them on a thread that runs an event loop.
"""

from __future__ import annotations

import _ctypes as c  # `ctypes` loads more than one function needs
import os
from _socket import NETLINK_ROUTE
from fcntl import ioctl

from podwire import sysctl
from podwire.netlink.constants import CLONE_NEWNET, NS_GET_NSTYPE
from podwire.netlink.socket import Netlink


class _Int(c._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Function(c.CFuncPtr):
    """A function of libc that sets errno, called with the GIL held: it does not block."""

    _flags_ = c.FUNCFLAG_CDECL | c.FUNCFLAG_USE_ERRNO | c.FUNCFLAG_PYTHONAPI
    _restype_ = _Int


_setns = _Function(c.dlsym(c.dlopen(None, os.RTLD_NOW), "setns"))  # type: ignore[arg-type]


def setns(descriptor: int) -> None:
    """Move the calling thread into the network namespace of `descriptor` (setns(2)); raises OSError."""
    if _setns(descriptor, CLONE_NEWNET):
        number = c.get_errno()
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


def return_to(own: int) -> None:
    """Return to the thread's own namespace.

    If that fails, the process exits: the thread would otherwise do the next pod's work in this pod's namespace.
    """
    try:
        setns(own)
    except OSError:
        os._exit(os.EX_OSERR)


def netlink_inside(
    descriptor: int, own: int, family: int = NETLINK_ROUTE, *, without_extended_ack: bool = False
) -> Netlink:
    """A netlink socket in the namespace of `descriptor`; `own` is the thread's own namespace."""
    setns(descriptor)
    try:
        return Netlink(family, without_extended_ack=without_extended_ack)
    finally:
        return_to(own)


def write_sysctl_inside(descriptor: int, own: int, path: str, value: str) -> None:
    """Write a sysctl in the namespace of `descriptor`: `ip netns exec POD sysctl -w PATH=VALUE`; raises OSError."""
    setns(descriptor)
    try:
        sysctl.write(path, value)
    finally:
        return_to(own)
