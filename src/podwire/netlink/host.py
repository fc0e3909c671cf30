# SPDX-License-Identifier: Apache-2.0
"""The host's network namespace: what all threads of a process share of it, and one thread's sockets in it."""

from __future__ import annotations

import errno
import os
from threading import Lock

from podwire.cni.errors import EXHAUSTED
from podwire.netlink import message as nl
from podwire.netlink import namespaces, read
from podwire.netlink.constants import NETLINK_NETFILTER, RTM_DELLINK
from podwire.netlink.operations import DeleteLink
from podwire.netlink.rtnl import encode
from podwire.netlink.socket import Netlink, NetlinkError

INDEX_BLOCK, INDEX_BLOCKS = 1 << 16, (0x1000, 0x2000)
"""Device indexes are allocated from these blocks, far above the indexes that the kernel chooses."""


class HostNamespace:
    """The network namespace of this process. Any thread may use it.

    With `single_call=True` the process ends after one call, so it deletes devices without a link deleter's threads.
    """

    def __init__(self, *, single_call: bool = False) -> None:
        self.descriptor = namespaces.open_own()
        self.identity = namespaces.identity(self.descriptor)
        self.ipv6 = os.path.exists("/proc/sys/net/ipv6")
        self.link_deleter = None
        if not single_call:
            from podwire.netlink.link_deleter import LinkDeleter  # noqa: PLC0415  7 ms: `socket`, `queue`, `select`

            self.link_deleter = LinkDeleter()
        self._next_index = 0
        self._lock = Lock()

    def allocate_index(self, socket: Netlink) -> int:
        """An unused device index, so that messages can name a device before it exists. Raises NetlinkError.

        Each process takes one block after the other, at random, of those that have no device.
        """
        with self._lock:
            if self._next_index % INDEX_BLOCK == 0:
                used = {link.index // INDEX_BLOCK for link in read.links(socket)}
                free = [block for block in range(*INDEX_BLOCKS) if block not in used]
                self._next_index = free[int.from_bytes(os.urandom(4), "big") % len(free)] * INDEX_BLOCK + 1
            index = self._next_index
            self._next_index += 1
            return index


class Host:
    """One thread's sockets in the host's namespace: `socket` for rtnetlink, `netfilter` for nftables and conntrack."""

    def __init__(self, namespace: HostNamespace) -> None:
        self.namespace = namespace
        self.socket = Netlink()
        self.netfilter = Netlink(NETLINK_NETFILTER)
        self.pod_seconds = 0.0

    @property
    def kernel_seconds(self) -> float:
        """How long this thread has waited for the kernel's netlink answers."""
        return self.socket.busy_seconds + self.pod_seconds

    def close(self) -> None:
        self.socket.close()
        self.netfilter.close()

    def is_own_namespace(self, descriptor: int) -> bool:
        return namespaces.identity(descriptor) == self.namespace.identity

    def open_pod(self, descriptor: int) -> Netlink:
        """A netlink socket inside a pod's namespace. Raises OSError."""
        return namespaces.netlink_inside(descriptor, self.namespace.descriptor)

    def delete(self, device: str) -> bool:
        """Delete a device of the host by name; False if there is none. Raises NetlinkError, OSError.

        If the link deleter gets no descriptor or thread, this thread's own socket deletes it, which takes longer.
        """
        if self.namespace.link_deleter:
            try:
                return self.namespace.link_deleter.delete(device)
            except OSError as refused:
                if refused.errno not in EXHAUSTED:
                    raise
        try:
            self.socket.do(encode(DeleteLink(device), self.socket.index))
        except NetlinkError as refused:
            if refused.errno == errno.ENODEV:
                return False
            raise
        return True

    def delete_index(self, index: int) -> None:
        """Delete a device of the host by index, if it exists, on this thread. Raises NetlinkError."""
        try:
            self.socket.do(nl.message(RTM_DELLINK, 0, nl.link_body(index)))
        except NetlinkError as refused:
            if refused.errno != errno.ENODEV:
                raise
