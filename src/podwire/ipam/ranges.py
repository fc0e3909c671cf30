# SPDX-License-Identifier: Apache-2.0
"""Address ranges, and the order in which their addresses are tried: round-robin. The kernel knows which are taken."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.ip import Address, Network, with_prefix
from podwire.record import Record


class PodAddress(Record):
    """An address of a pod, the prefix length of its subnet, and the gateway of its family."""

    ip: Address
    prefix: int
    gateway: Address | None

    @property
    def network(self) -> Network:
        return with_prefix(self.ip, self.prefix).network


class Range(Record):
    """Addresses `first` to `last` (integers) of `subnet`, without its gateway."""

    subnet: Network
    first: int
    last: int
    gateway: Address

    def __contains__(self, address: Address) -> bool:
        return (
            address.version == self.subnet.version
            and self.first <= int(address) <= self.last
            and address != self.gateway
        )

    @property
    def size(self) -> int:
        return self.last - self.first + 1 - (self.first <= int(self.gateway) <= self.last)


class RangeSet(Record):
    """Ranges of one IP version, of which an attachment gets one address."""

    ranges: tuple[Range, ...]

    @property
    def version(self) -> int:
        return int(self.ranges[0].subnet.version)

    @property
    def size(self) -> int:
        return sum(item.size for item in self.ranges)

    def address(self, value: int) -> Address:
        return type(self.ranges[0].gateway)(value)

    def range_of(self, address: Address) -> Range | None:
        return next((item for item in self.ranges if address in item), None)

    def first_after(self, last: Address | None) -> Address:
        """The first address of `after`; the usual step within a range costs little."""
        if last is not None and len(self.ranges) == 1:
            here, value = self.ranges[0], int(last) + 1
            if here.first <= value <= here.last and value != int(here.gateway):
                return type(last)(value)
        return next(self.after(last))

    def after(self, last: Address | None) -> Iterator[Address]:
        """Every address once, round-robin: first the address after `last`, at the end `last` itself."""
        at = next((n for n, item in enumerate(self.ranges) if last is not None and last in item), None)
        if at is None or last is None:
            for item in self.ranges:
                yield from _addresses(item, item.first, item.last)
            return
        here = self.ranges[at]
        yield from _addresses(here, int(last) + 1, here.last)
        for item in (*self.ranges[at + 1 :], *self.ranges[:at]):
            yield from _addresses(item, item.first, item.last)
        yield from _addresses(here, here.first, int(last))

    def __str__(self) -> str:
        return ", ".join(str(item.subnet) for item in self.ranges)


def _addresses(item: Range, first: int, last: int) -> Iterator[Address]:
    make = type(item.gateway)
    gateway = int(item.gateway)
    for value in range(first, last + 1):
        if value != gateway:
            yield make(value)
