"""Deleting a device, answered when the kernel announces that it is gone.

RTM_DELLINK's send returns only after an RCU barrier (15 to 25 ms) that the kernel waits out *after* the device,
its names, addresses and routes are gone and announced. So the send runs on a thread, and whoever deletes waits
for the announcement (RTM_DELLINK to group RTNLGRP_LINK) or for a refusal: about 0.7 ms.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import threading
from queue import SimpleQueue

from podwire.netlink import message as nl
from podwire.netlink.constants import IFLA_GROUP, IFLA_IFNAME, RTM_DELLINK, RTM_NEWLINK, RTMGRP_LINK, SO_ATTACH_FILTER
from podwire.netlink.monitor import type_filter
from podwire.netlink.read import string
from podwire.netlink.socket import RECEIVE_BYTES, Netlink, NetlinkError

THREADS = 48
WAIT_SECONDS = 15

_ONLY_DEPARTURES = type_filter(RTM_DELLINK)


class _Removal:
    """One delete under way: what to send, and where its return is reported."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.refused: Exception | None = None
        self.done = threading.Event()
        # Two threads know this object and the last to forget it closes the descriptor: neither may do it earlier.
        self.bell = io.FileIO(os.eventfd(0, os.EFD_CLOEXEC), "r+")

    def run(self) -> None:
        """Send, and tell how it ended. Never raises: the thread is there for the next one."""
        try:
            with Netlink() as own:
                own.do(self.request)
        except Exception as refused:  # noqa: BLE001  whoever deletes raises it
            self.refused = refused.with_traceback(None)  # which would hold this object, and its descriptor, in a circle
        finally:
            self.done.set()
            os.eventfd_write(self.bell.fileno(), 1)


class LinkDeleter:
    """Deletes devices of the namespace in which its threads were started; any thread may call `delete`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Removal] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0

    def _submit(self, removal: _Removal) -> None:
        """Give it to a thread, a new one where all are busy. Raises OSError(EAGAIN) where none can be started."""
        with self._lock:
            if self._waiting >= self._threads and self._threads < THREADS:
                try:
                    threading.Thread(target=self._serve, daemon=True, name="delete").start()
                except (RuntimeError, MemoryError) as refused:
                    raise OSError(errno.EAGAIN, f"no thread can be started ({refused})") from None
                self._threads += 1
            self._waiting += 1
        self._queue.put(removal)

    def _serve(self) -> None:
        while True:
            removal = self._queue.get()
            removal.run()
            del removal
            with self._lock:
                self._waiting -= 1

    def delete(self, name: str) -> bool:
        """Delete a device by name; False if there is none. Returns when it is gone.

        Raises NetlinkError, and OSError where a descriptor or a thread cannot be had.
        """
        with Netlink(groups=RTMGRP_LINK) as announcements:
            announcements.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _ONLY_DEPARTURES)
            removal = _Removal(nl.message(RTM_DELLINK, 0, nl.link_body(), nl.text(IFLA_IFNAME, name)))
            self._submit(removal)
            if _is_announced(announcements, removal, name):
                return True
        refused = removal.refused
        del removal  # see `run`
        if refused is None:
            return True
        if isinstance(refused, NetlinkError) and refused.errno == errno.ENODEV:
            return False
        raise refused


def _is_announced(announcements: Netlink, removal: _Removal, name: str) -> bool:
    """Wait until the device's departure is announced (True), or the delete has returned (False).

    Raises NetlinkError(ETIMEDOUT) where neither happens.
    """
    both = select.poll()
    both.register(announcements.socket.fileno(), select.POLLIN)
    both.register(removal.bell.fileno(), select.POLLIN)
    while not removal.done.is_set():
        ready = [descriptor for descriptor, _ in both.poll(WAIT_SECONDS * 1000)]
        if announcements.socket.fileno() not in ready:
            if not ready:
                raise _too_late(name)
            continue
        try:
            data = announcements.socket.recv(RECEIVE_BYTES)
        except OSError as lost:
            if lost.errno != errno.ENOBUFS:
                raise
            if not removal.done.wait(WAIT_SECONDS):  # announcements were lost: the return tells as well, only later
                raise _too_late(name) from None
            return False
        for kind, _, _, payload in nl.messages(data):
            if kind == RTM_DELLINK and string(nl.attributes(payload, 16).get(IFLA_IFNAME)) == name:
                return True
    return False


def _too_late(name: str) -> NetlinkError:
    return NetlinkError(errno.ETIMEDOUT, f"the kernel did not delete {name}")


def delete_group(socket_: Netlink, names: list[str], group: int) -> None:
    """Delete many devices at once: they join link group `group`, then one RTM_DELLINK takes the group.

    Thirty cost as much as one this way. A device that is gone already is no error. Raises NetlinkError.
    """
    present = []
    for name in names:
        try:
            present.append(nl.message(RTM_NEWLINK, 0, nl.link_body(socket_.index(name)),
                                      nl.u32(IFLA_GROUP, group)))  # fmt: skip
        except NetlinkError:
            continue
    for start in range(0, len(present), 100):
        for refused in socket_.batch(present[start : start + 100]):
            if refused.errno != errno.ENODEV:
                raise refused
    if present:
        gone = nl.message(RTM_DELLINK, 0, nl.link_body(), nl.u32(IFLA_GROUP, group))
        for refused in socket_.batch([gone]):
            if refused.errno != errno.ENODEV:  # somebody else deleted them all meanwhile
                raise refused
