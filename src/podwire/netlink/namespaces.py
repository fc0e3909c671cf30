"""Network namespaces: which one a descriptor is, and sockets and files opened inside another one.

setns(2) changes the calling thread alone. Nothing here may run on a thread that an event loop owns, and
nothing may be awaited between going in and coming back.
"""

from __future__ import annotations

import os
from _socket import NETLINK_ROUTE
from fcntl import ioctl

from podwire import sysctl
from podwire.netlink.constants import CLONE_NEWNET, NS_GET_NSTYPE
from podwire.netlink.socket import Netlink

TYPE_CHECKING = False
if TYPE_CHECKING or not hasattr(os, "setns"):  # until Python 3.12
    import _ctypes as c  # `ctypes` would load what is not needed for one function

    class _Int(c._SimpleCData):  # type: ignore[type-arg]
        _type_ = "i"

    class _Function(c.CFuncPtr):
        """A function of libc that sets errno, called with the interpreter's lock held: it does not block."""

        _flags_ = c.FUNCFLAG_CDECL | c.FUNCFLAG_USE_ERRNO | c.FUNCFLAG_PYTHONAPI
        _restype_ = _Int

    _setns = _Function(c.dlsym(c.dlopen(None, os.RTLD_NOW), "setns"))  # type: ignore[arg-type]

    def setns(descriptor: int) -> None:
        """Move the calling thread into the network namespace of `descriptor` (setns(2)); raises OSError."""
        if _setns(descriptor, CLONE_NEWNET):
            number = c.get_errno()
            raise OSError(number, os.strerror(number))

else:

    def setns(descriptor: int) -> None:
        """Move the calling thread into the network namespace of `descriptor` (setns(2)); raises OSError."""
        os.setns(descriptor, CLONE_NEWNET)


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


def come_home(home: int) -> None:
    """Go back to the thread's own namespace.

    A thread that cannot come home would do the next pod's work in this pod's namespace: the process ends
    (it keeps no state, so its successor loses nothing).
    """
    try:
        setns(home)
    except OSError:
        os._exit(os.EX_OSERR)


def netlink_inside(
    descriptor: int, home: int, family: int = NETLINK_ROUTE, *, without_extended_ack: bool = False
) -> Netlink:
    """A netlink socket that lives in the namespace of `descriptor`."""
    setns(descriptor)
    try:
        return Netlink(family, without_extended_ack=without_extended_ack)
    finally:
        come_home(home)


def write_sysctl_inside(descriptor: int, home: int, path: str, value: str) -> None:
    """Write `/proc/sys/<path>` as the namespace of `descriptor` has it; raises OSError."""
    setns(descriptor)
    try:
        sysctl.write(path, value)
    finally:
        come_home(home)
