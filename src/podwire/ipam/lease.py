"""Which address a pod gets next: ranges, and the order in which their addresses are tried.

No list of taken addresses is kept anywhere: an address is taken when the kernel refuses it as an altname.
The order goes round the range once before an address comes back: it begins behind the last lease, which stands
in the alias of the device that carries the gateway (`podwire last-lease 10.244.1.57 …`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from podwire.plan.operations import Address, Network
from podwire.plan.record import Record

ALIAS_BYTES = 250
MARK = "podwire"
LAST = "last-lease"


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
        """How many addresses can be leased."""
        return self.last - self.first + 1 - (self.first <= int(self.gateway) <= self.last)


class RangeSet(Record):
    """Ranges of one family, of which an attachment gets one address."""

    ranges: tuple[Range, ...]

    @property
    def version(self) -> int:
        return int(self.ranges[0].subnet.version)

    @property
    def size(self) -> int:
        return sum(one.size for one in self.ranges)

    def address(self, value: int) -> Address:
        """An address of this family by its value."""
        return type(self.ranges[0].gateway)(value)

    def range_of(self, address: Address) -> Range | None:
        """The range that an address belongs to."""
        return next((one for one in self.ranges if address in one), None)

    def first_after(self, last: Address | None) -> Address:
        """The first of those that `after` gives; the usual step within one range costs little."""
        if last is not None and len(self.ranges) == 1:
            here, value = self.ranges[0], int(last) + 1
            if here.first <= value <= here.last and value != int(here.gateway):
                return type(last)(value)
        return next(self.after(last))

    def after(self, last: Address | None) -> Iterator[Address]:
        """Every address once, beginning behind `last`, round the ranges and up to `last` itself."""
        at = next((n for n, one in enumerate(self.ranges) if last is not None and last in one), None)
        if at is None or last is None:
            for one in self.ranges:
                yield from _addresses(one, one.first, one.last)
            return
        here = self.ranges[at]
        yield from _addresses(here, int(last) + 1, here.last)
        for one in (*self.ranges[at + 1 :], *self.ranges[:at]):
            yield from _addresses(one, one.first, one.last)
        yield from _addresses(here, here.first, int(last))

    def __str__(self) -> str:
        return ", ".join(str(one.subnet) for one in self.ranges)


def _addresses(one: Range, first: int, last: int) -> Iterator[Address]:
    make = type(one.gateway)
    gateway = int(one.gateway)
    for value in range(first, last + 1):
        if value != gateway:
            yield make(value)


def read_last(alias: str, wanted: RangeSet) -> Address | None:
    """The last lease from `wanted` that a device's alias tells, or None."""
    words = alias.split()
    if words[:1] != [MARK] or LAST not in words:
        return None
    for word in words[words.index(LAST) + 1 :]:
        try:
            address = ip_address(word)
        except ValueError:
            continue
        if wanted.range_of(address):
            return address
    return None


def around_last(alias: str, wanted: Iterable[RangeSet]) -> tuple[str, str] | None:
    """What stands before and behind the last leases from `wanted` in a device's alias; None if it is not ours.

    Ours is ASCII, so its letters are its bytes.
    """
    words = alias.split() or [MARK]
    if words[0] != MARK or not alias.isascii():
        return None
    head = words[: words.index(LAST)] if LAST in words else words
    groups = list(wanted)
    others = [word for word in words[len(head) + 1 :] if not any(_within(word, one) for one in groups)]
    return " ".join([*head, LAST, ""]), "".join(f" {word}" for word in others)


def write_last(around: tuple[str, str], leased: Iterable[Address | str]) -> str:
    """The device's alias with the new leases in it.

    Newest first; the oldest fall off where 250 bytes are full (their range then begins at its start).
    """
    text = around[0] + " ".join(map(str, leased)) + around[1]
    return text if len(text) <= ALIAS_BYTES else text[: text.rindex(" ", 0, ALIAS_BYTES)]


def _within(word: str, wanted: RangeSet) -> bool:
    try:
        return wanted.range_of(ip_address(word)) is not None
    except ValueError:
        return True


def is_address(name: str) -> bool:
    """Is an altname an address, that is, a lease?"""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def leased_addresses(names: Iterable[str]) -> list[Address]:
    """The addresses among altnames: what these names lease."""
    found: list[Address] = []
    for name in names:
        try:
            found.append(ip_address(name))
        except ValueError:
            continue
    return found
