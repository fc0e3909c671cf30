# SPDX-License-Identifier: Apache-2.0
"""The last lease of each range, in the alias of the gateway device (`podwire last-lease 10.244.1.57 …`).

A new process continues after it, so that an address is not leased again at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from podwire.attachments.altnames import leased_addresses
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
    return next((last for last in leased_addresses(words[words.index(LAST) + 1 :]) if wanted.range_of(last)), None)


def around_last(alias: str, wanted: Iterable[RangeSet]) -> tuple[str, str] | None:
    """The parts of a device's alias before and after the last leases from `wanted`; None if it is not podwire's."""
    words = alias.split() or [MARK]
    if words[0] != MARK or not alias.isascii():
        return None
    head = words[: words.index(LAST)] if LAST in words else words
    groups = list(wanted)
    noted = leased_addresses(words[len(head) + 1 :])
    others = [f" {address}" for address in noted if not any(group.range_of(address) for group in groups)]
    return " ".join([*head, LAST, ""]), "".join(others)


def write_last(around: tuple[str, str], leased: Iterable[Address | str]) -> str:
    """The device's alias with the new leases in it, newest first; beyond 250 bytes the oldest are dropped."""
    text = around[0] + " ".join(map(str, leased)) + around[1]
    return text if len(text) <= ALIAS_BYTES else text[: text.rindex(" ", 0, ALIAS_BYTES)]
