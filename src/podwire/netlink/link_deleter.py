# SPDX-License-Identifier: Apache-2.0
"""Deletes a device and returns as soon as the kernel notifies that it is gone, after about 0.7 ms.

The send of RTM_DELLINK returns only after an RCU barrier of 15 to 25 ms, for which the kernel waits after the device,
its names, addresses and routes are removed and the notification is sent. So a thread sends, and the caller waits for
the notification (RTM_DELLINK to group RTNLGRP_LINK) or for an error.

ip link delete DEVICE
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import threading
from contextlib import suppress
from queue import SimpleQueue

from podwire.netlink import message as nl
from podwire.netlink.constants import IFLA_GROUP, IFLA_IFNAME, RTM_DELLINK, RTM_NEWLINK, RTMGRP_LINK, SO_ATTACH_FILTER
from podwire.netlink.monitor import type_filter
from podwire.netlink.read import string
from podwire.netlink.socket import RECEIVE_BYTES, Netlink, NetlinkError

THREADS, WAIT_SECONDS = 48, 15
_ONLY_DELLINK = type_filter(RTM_DELLINK)


class _Deletion:
    def __init__(self, request: bytes) -> None:
        self.request = request
        self.error: Exception | None = None
        self.done = threading.Event()
        # Two threads use the descriptor: it is closed when both have dropped this object.
        self.returned = io.FileIO(os.eventfd(0, os.EFD_CLOEXEC), "r+")

    def run(self) -> None:
        """Send and store the error. Never raises: the thread serves the next deletion."""
        try:
            with Netlink() as own:
                own.do(self.request)
        except Exception as error:  # noqa: BLE001  the caller of `delete` raises it
            self.error = error.with_traceback(None)  # a traceback refers to this object: the descriptor would stay open
        finally:
            self.done.set()
            os.eventfd_write(self.returned.fileno(), 1)


class LinkDeleter:
    """Deletes devices of the namespace in which its threads were started; any thread may call `delete`."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Deletion] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._waiting = 0

    def _submit(self, deletion: _Deletion) -> None:
        """Queue it; start a thread if all are busy. Raises OSError(EAGAIN) if no thread can be started."""
        with self._lock:
            if self._waiting >= self._threads and self._threads < THREADS:
                try:
                    threading.Thread(target=self._serve, daemon=True, name="delete").start()
                except (RuntimeError, MemoryError) as refused:
                    raise OSError(errno.EAGAIN, f"no thread can be started ({refused})") from None
                self._threads += 1
            self._waiting += 1
        self._queue.put(deletion)

    def _serve(self) -> None:
        while True:
            deletion = self._queue.get()
            deletion.run()
            del deletion
            with self._lock:
                self._waiting -= 1

    def delete(self, name: str) -> bool:
        """Delete a device by name; False if there is none. Returns when it is gone.

        Raises NetlinkError, and OSError where a descriptor or a thread is not available.
        """
        with Netlink(groups=RTMGRP_LINK) as notifications:
            notifications.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, _ONLY_DELLINK)
            deletion = _Deletion(nl.message(RTM_DELLINK, 0, nl.link_body(), nl.text(IFLA_IFNAME, name)))
            self._submit(deletion)
            if _wait_until_gone(notifications, deletion, name):
                return True
        error = deletion.error
        del deletion  # see `run`
        if error is not None and not (isinstance(error, NetlinkError) and error.errno == errno.ENODEV):
            raise error
        return error is None


def _wait_until_gone(notifications: Netlink, deletion: _Deletion, name: str) -> bool:
    """Wait until the kernel notifies that the device is gone (True), or the send has returned (False).

    Raises NetlinkError(ETIMEDOUT) if neither happens.
    """
    poll = select.poll()
    poll.register(notifications.socket.fileno(), select.POLLIN)
    poll.register(deletion.returned.fileno(), select.POLLIN)
    while not deletion.done.is_set():
        ready = [descriptor for descriptor, _ in poll.poll(WAIT_SECONDS * 1000)]
        if not ready:
            raise _timeout(name)
        if notifications.socket.fileno() not in ready:
            continue
        try:
            data = notifications.socket.recv(RECEIVE_BYTES)
        except OSError as lost:
            if lost.errno != errno.ENOBUFS:
                raise
            if deletion.done.wait(WAIT_SECONDS):  # notifications were lost, but the send returns
                return False
            raise _timeout(name) from None
        for kind, _, _, payload in nl.messages(data):
            if kind == RTM_DELLINK and string(nl.attributes(payload, 16).get(IFLA_IFNAME)) == name:
                return True
    return False


def _timeout(name: str) -> NetlinkError:
    return NetlinkError(errno.ETIMEDOUT, f"the kernel did not delete {name}")


def delete_group(socket_: Netlink, names: list[str], group: int) -> None:
    """Delete many devices: put them into link group `group`, then delete the group with one RTM_DELLINK.

    Thirty devices take as long as one. A device that is already gone is no error. Raises NetlinkError.
    ip link set DEVICE group GROUP; ip link delete group GROUP
    """
    attribute = nl.u32(IFLA_GROUP, group)
    requests = []
    for name in names:
        with suppress(NetlinkError):
            requests.append(nl.message(RTM_NEWLINK, 0, nl.link_body(socket_.index(name)), attribute))
    if requests:
        requests.append(nl.message(RTM_DELLINK, 0, nl.link_body(), attribute))
    for start in range(0, len(requests), 100):
        for refused in socket_.batch(requests[start : start + 100]):
            if refused.errno != errno.ENODEV:  # another process has deleted it by now
                raise refused
