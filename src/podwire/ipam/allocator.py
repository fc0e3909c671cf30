# SPDX-License-Identifier: Apache-2.0
"""The allocator: which address an attachment gets next, reserved in the kernel as an altname of its device.

The kernel decides whether an address is free. What the allocator keeps saves attempts; a new process starts without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from threading import Lock

from podwire.attachments.identity import parse_alias
from podwire.cni.errors import ADDRESS_TAKEN, RANGE_FULL, CniError, invalid
from podwire.cni.result import parse_address
from podwire.ip import Address
from podwire.ipam.ranges import PodAddress, RangeSet
from podwire.ipam.rotation import around_last, read_last, write_last
from podwire.netlink import read
from podwire.netlink.apply import Indexes, apply
from podwire.netlink.host import Host
from podwire.netlink.operations import AddAltname, Operation

PROBES_BEFORE_DUMP = 8

Allocation = dict[RangeSet, Address]  # for each range set the address of an attachment


class Cursor:
    """The last address (as an integer) that was tried in a range set, and addresses that were in use lately."""

    __slots__ = ("last", "taken")

    def __init__(self) -> None:
        self.last: int | None = None
        self.taken: frozenset[int] = frozenset()


class Allocator:
    """What the threads of one process share about leases. `lock` guards the cursors."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._cursors: dict[RangeSet, Cursor] = {}
        self._notes: dict[str, tuple[tuple[RangeSet, ...], tuple[str, str], str]] = {}

    def cursor(self, range_set: RangeSet) -> Cursor:
        """The cursor of a range set; change it with `lock` held."""
        return self._cursors.setdefault(range_set, Cursor())

    def allocate(self, range_sets: Iterable[RangeSet], requested: Allocation, gateway_alias: str) -> Allocation:
        """The addresses to try first: the requested ones, else the ones after the last lease."""
        return {group: requested.get(group) or self._next(group, gateway_alias) for group in range_sets}

    def _next(self, range_set: RangeSet, alias: str) -> Address:
        cursor = self.cursor(range_set)
        with self.lock:
            last = read_last(alias, range_set) if cursor.last is None else range_set.address(cursor.last)
            first = range_set.first_after(last)
            cursor.last = int(first)
            return first

    def reserve(
        self, host: Host, index_of: Indexes, device: str, allocation: Allocation, requested: Allocation,
        taken: Iterable[Operation],
    ) -> Allocation:  # fmt: skip
        """The addresses that the device leases in the end. `taken` are altnames that other devices had already.

        Raises CniError 102 if a range is full and 103 if a requested address is taken; KernelRefusedError.
        """
        range_set_of = {str(address): range_set for range_set, address in allocation.items()}
        reserved = dict(allocation)
        for operation in taken:
            assert isinstance(operation, AddAltname)
            range_set = range_set_of[operation.altname]
            if range_set in requested:
                raise _taken(host, operation.altname)
            reserved[range_set] = _reserve_next_free(host, device, range_set, allocation[range_set], index_of)
            with self.lock:
                self.cursor(range_set).last = int(reserved[range_set])
        return reserved

    def note_leases(
        self, device: str, alias: str, range_sets: tuple[RangeSet, ...], leased: Iterable[Address | str]
    ) -> str | None:
        """The alias of the gateway device, `alias` when it was read, with these leases; None if it is not podwire's."""
        with self.lock:
            known = self._notes.get(device)
            if known is None or known[0] != range_sets:
                around = around_last(known[2] if known else alias, range_sets)
                if around is None:
                    return None
            else:
                around = known[1]
            text = write_last(around, leased)
            self._notes[device] = range_sets, around, text
            return text


def requested_addresses(addresses: Iterable[str], range_sets: Sequence[RangeSet]) -> Allocation:
    """The addresses that the runtime asks for, by range set. Raises CniError 7 for an address of no range."""
    found: Allocation = {}
    for text in filter(None, addresses):
        address = parse_address(text.partition("/")[0].strip(), "the requested IP")
        range_set = next((candidate for candidate in range_sets if candidate.range_of(address)), None)
        if range_set is None or range_set in found:
            ranges = ", ".join(map(str, range_sets)) or "no range at all"
            raise invalid(f"the requested IP {address} cannot be leased: ask for one of {ranges}")
        found[range_set] = address
    return found


def pod_addresses(allocation: Allocation) -> list[PodAddress]:
    """Leased addresses with the prefix and the gateway of their ranges."""
    found = []
    for range_set, address in allocation.items():
        here = range_set.ranges[0] if len(range_set.ranges) == 1 else range_set.range_of(address)
        assert here is not None
        found.append(PodAddress(address, here.subnet.prefixlen, here.gateway))
    return found


def _reserve_next_free(host: Host, device: str, range_set: RangeSet, start: Address, index_of: Indexes) -> Address:
    """Reserve the first free address after `start`: try a few, then read which addresses are in use."""
    candidates = range_set.after(start)
    for address in islice(candidates, PROBES_BEFORE_DUMP):
        if not apply(host.socket, [AddAltname(device, str(address))], index_of):
            return address
    names = {name for link in read.links(host.socket) for name in link.altnames}
    for address in candidates:
        if str(address) not in names and not apply(host.socket, [AddAltname(device, str(address))], index_of):
            return address
    use = f"({range_set.size} of {range_set.size} in use)"
    raise CniError(RANGE_FULL, f"{range_set} is full {use}: free pods or give the node a larger podCIDR")


def _taken(host: Host, address: str) -> CniError:
    link = read.link(host.socket, address)
    owner = parse_alias(link.alias) if link else None
    holder = f" by container {owner.container_id[:64]}" if owner else f" by device {link.name}" if link else ""
    return CniError(ADDRESS_TAKEN, f"the requested IP {address} is in use{holder}: ask for another or free it")
