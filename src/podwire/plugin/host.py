"""The host as the verbs see it: sockets in its network namespace, and what all threads share."""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock
from collections.abc import Iterable
from time import perf_counter

from podwire import sysctl
from podwire.cni.errors import EXHAUSTED
from podwire.datapath.gateway import CREATED, FORWARDING, ActualGateway, Gateway, is_made, missing
from podwire.ip import Address
from podwire.ipam.ranges import RangeSet
from podwire.ipam.rotation import around_last, read_last, write_last
from podwire.netlink import message as nl
from podwire.netlink import namespaces as namespace
from podwire.netlink import read
from podwire.netlink.apply import apply_each
from podwire.netlink.constants import NETLINK_NETFILTER, RTM_DELLINK
from podwire.netlink.message import link_body
from podwire.netlink.operations import DeleteLink, Operation, describe
from podwire.netlink.rtnl import encode
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.nft.apply import Firewall

INDEX_BLOCK = 1 << 16
INDEX_BLOCKS = (0x1000, 0x2000)


class Cursor:
    """Where the leases of a set of ranges have come to: the last address that was tried, as an integer.

    `taken` are addresses that somebody held when it was last looked; they may be free by now.
    """

    __slots__ = ("last", "taken")

    def __init__(self) -> None:
        self.last: int | None = None
        self.taken: frozenset[int] = frozenset()


class Shared:
    """What the threads of one process share. None of it is truth: a new process begins without.

    A process for one call is `alone`: nobody else waits, so it needs no threads that delete for it.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self.home = namespace.open_own()
        self.identity = namespace.identity(self.home)
        self.link_deleter = None
        if not alone:
            from podwire.netlink.link_deleter import LinkDeleter  # noqa: PLC0415  it brings `threading`

            self.link_deleter = LinkDeleter()
        self.firewall = Firewall()
        self.ipv6 = os.path.exists("/proc/sys/net/ipv6")
        self._cursors: dict[RangeSet, Cursor] = {}
        self._notes: dict[str, tuple[tuple[RangeSet, ...], tuple[str, str], str]] = {}
        self._next_index = 0
        self.lock = allocate_lock()

    def next_index(self, socket: Netlink) -> int:
        """An index for a new device, so that messages can name it before it is there. Raises NetlinkError.

        Each process takes one block after the other of those in which there is no device, far above the indexes that
        the kernel chooses; two processes begin at random.
        """
        with self.lock:
            if self._next_index % INDEX_BLOCK == 0:
                used = {one.index // INDEX_BLOCK for one in read.links(socket)}
                free = [one for one in range(*INDEX_BLOCKS) if one not in used]
                self._next_index = free[int.from_bytes(os.urandom(4), "big") % len(free)] * INDEX_BLOCK + 1
            index = self._next_index
            self._next_index += 1
            return index

    def cursor(self, wanted: RangeSet) -> Cursor:
        """The one of this set, which is moved with `lock` held."""
        return self._cursors.setdefault(wanted, Cursor())

    def claim(self, wanted: RangeSet, alias: str) -> Address:
        """The address to try first: the one behind the last that this process tried, or that `alias` tells."""
        cursor = self.cursor(wanted)
        with self.lock:
            last = read_last(alias, wanted) if cursor.last is None else wanted.address(cursor.last)
            first = wanted.first_after(last)
            cursor.last = int(first)
            return first

    def note_leases(
        self, device: str, alias: str, groups: tuple[RangeSet, ...], leased: Iterable[Address | str]
    ) -> str | None:
        """The gateway device's alias with these leases in it, None if it is not ours; `alias` is what it was once."""
        with self.lock:
            known = self._notes.get(device)
            if known is None or known[0] != groups:
                around = around_last(known[2] if known else alias, groups)
                if around is None:
                    return None
            else:
                around = known[1]
            text = write_last(around, leased)
            self._notes[device] = groups, around, text
            return text

    def claimed(self, wanted: RangeSet, address: Address) -> None:
        """The address that was leased in the end, further on than the claim."""
        with self.lock:
            self.cursor(wanted).last = int(address)


class Host:
    """One thread's view of the host: `socket` is a netlink socket in the host's namespace.

    `phases` tells where the time of the call under way, or of the last one, went: (step, seconds), in order.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.socket = Netlink()
        self.netfilter = Netlink(NETLINK_NETFILTER)
        self.home = shared.home
        self.pod_seconds = 0.0
        self.phases: list[tuple[str, float]] = []
        self._phase_begun = 0.0

    def start_phases(self) -> None:
        """A call begins: forget the phases of the one before."""
        self.phases = []
        self._phase_begun = perf_counter()

    def end_phase(self, step: str) -> None:
        """A step of the call is done; what passed since the step before was its time."""
        now = perf_counter()
        self.phases.append((step, now - self._phase_begun))
        self._phase_begun = now

    def join_phases(self, step: str) -> None:
        """All steps so far were in vain: they count as one."""
        self.end_phase(step)
        self.phases = [(step, sum(seconds for _, seconds in self.phases))]

    @property
    def kernel_seconds(self) -> float:
        """How long this thread has been inside the kernel so far, for netlink work."""
        return self.socket.busy_seconds + self.pod_seconds

    def close(self) -> None:
        """Close this thread's sockets."""
        self.socket.close()
        self.netfilter.close()

    def is_own_namespace(self, descriptor: int) -> bool:
        """Is it the namespace that the host itself lives in?"""
        return namespace.identity(descriptor) == self.shared.identity

    def open_pod(self, descriptor: int) -> Netlink:
        """A netlink socket inside a pod's namespace."""
        return namespace.netlink_inside(descriptor, self.home)

    def delete(self, device: str) -> bool:
        """Delete a device of the host; False if there is none. Raises NetlinkError, OSError.

        Without a descriptor or a thread to spare, this thread's own socket does it, and it takes longer.
        """
        if self.shared.link_deleter:
            try:
                return self.shared.link_deleter.delete(device)
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
        """Delete a device of the host, if it is there; what waits for it is this thread. Raises NetlinkError."""
        try:
            self.socket.do(nl.message(RTM_DELLINK, 0, link_body(index)))
        except NetlinkError as refused:
            if refused.errno != errno.ENODEV:
                raise

    def ensure(self, part: Gateway) -> tuple[read.Link, list[str]]:
        """Bring the host part about; its device, and what was mended. Raises KernelRefusedError, OSError."""
        link, actual = self._read(part)
        operations: list[Operation] = missing(part, actual)
        if operations or link is None:
            apply_each(self.socket, operations)
            link = read.link(self.socket, part.device)
            if link is None:
                raise OSError(f"device {part.device} vanished while it was set up: try again")
        mended = [describe(one) for one in operations]
        for family in part.families:
            if sysctl.ensure(FORWARDING[family], "1"):
                mended.append(f"sysctl -w {FORWARDING[family]}=1")
        return link, mended

    def _read(self, part: Gateway) -> tuple[read.Link | None, ActualGateway]:
        link = read.link(self.socket, part.device)
        if link is None:
            return None, ActualGateway()
        found = [one for family in part.families for one in read.addresses(self.socket, link.index, family)]
        unmarked = is_made(link.name, link.mac) and not link.alias.startswith(CREATED)
        return link, ActualGateway(True, unmarked, link.up, link.promiscuous, tuple(found))
