"""The last lease of each range, in the alias of the gateway device (`podwire last-lease 10.244.1.57 …`).

A new process continues after it, so that an address is not leased again at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from podwire.ip import Address
from podwire.ipam.ranges import RangeSet

ALIAS_BYTES = 250
MARK = "podwire"
LAST = "last-lease"


def read_last(alias: str, wanted: RangeSet) -> Address | None:
    """The last lease from `wanted` that a device's alias names, or None."""
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
    """The parts of a device's alias before and after the last leases from `wanted`; None if it is not podwire's.

    podwire's alias is ASCII, so the number of its letters is that of its bytes.
    """
    words = alias.split() or [MARK]
    if words[0] != MARK or not alias.isascii():
        return None
    head = words[: words.index(LAST)] if LAST in words else words
    groups = list(wanted)
    others = [word for word in words[len(head) + 1 :] if not any(_within(word, group) for group in groups)]
    return " ".join([*head, LAST, ""]), "".join(f" {word}" for word in others)


def write_last(around: tuple[str, str], leased: Iterable[Address | str]) -> str:
    """The device's alias with the new leases in it.

    Newest first; beyond 250 bytes the oldest are dropped (leases from their ranges then start at the first address).
    """
    text = around[0] + " ".join(map(str, leased)) + around[1]
    return text if len(text) <= ALIAS_BYTES else text[: text.rindex(" ", 0, ALIAS_BYTES)]


def _within(word: str, wanted: RangeSet) -> bool:
    try:
        return wanted.range_of(ip_address(word)) is not None
    except ValueError:
        return True
