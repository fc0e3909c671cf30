# SPDX-License-Identifier: Apache-2.0
"""Which Node keeps a pod CIDR or an address that several Nodes have: the oldest. No effects.

A claim holds if no older claim that holds conflicts with it. All agents decide the same from the same Nodes, in
whatever order these arrive. A change looks again only at the claims that conflict with the changed ones, the oldest
first, so each of them is decided once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import cast

from msgspec import Struct

from podwire.ip import Address
from podwire.node.settings import Span

Order = tuple[str, str, int]
"""Creation timestamp and name of the Node, and the position within the Node: the least is the oldest."""

Key = Address | Span


class Claim(Struct, eq=False):
    """What one Node claims: one pod CIDR (as a span), or all its addresses. `lost_to` is the claim that it lost to."""

    order: Order
    keys: tuple[Key, ...]
    lost_to: Claim | None = None
    decided: bool = False

    @property
    def node(self) -> str:
        """The name of the Node."""
        return self.order[1]

    @property
    def holds(self) -> bool:
        """Is it decided, and lost to none?"""
        return self.decided and self.lost_to is None


class ClaimIndex:
    """The claims of one kind, and which of them hold. Two conflict if they have a key in common."""

    def __init__(self) -> None:
        self._by_key: dict[Key, list[Claim]] = {}

    def conflicting(self, keys: Iterable[Key]) -> Iterator[Claim]:
        """The claims that cannot hold together with a claim of these keys."""
        for key in keys:
            yield from self._by_key.get(key, ())

    def change(self, removed: Collection[Claim], added: Collection[Claim]) -> set[str]:
        """Remove and add claims; the names of the Nodes with a claim that is decided otherwise than before."""
        waiting: list[tuple[Order, Claim]] = []
        for claim in removed:
            self._remove(claim)
        for claim in removed:
            waiting += _younger(claim, self._rivals(claim)) if claim.holds else ()
        for claim in added:
            self._add(claim)
            waiting.append((claim.order, claim))
        waiting = list(dict(waiting).items())
        heapify(waiting)
        return self._decide(waiting)

    def _decide(self, waiting: list[tuple[Order, Claim]]) -> set[str]:
        changed = set()
        last: Claim | None = None
        while waiting:
            _, claim = heappop(waiting)
            if claim is last:
                continue
            last = claim
            held, lost_to, decided = claim.holds, claim.lost_to, claim.decided
            rivals = self._rivals(claim)
            older = [other for other in rivals if other.order < claim.order and other.holds]
            claim.lost_to, claim.decided = min(older, key=lambda other: other.order, default=None), True
            if claim.lost_to is not lost_to or not decided:
                changed.add(claim.node)
            if claim.holds != held:
                for entry in _younger(claim, rivals):
                    heappush(waiting, entry)
        return changed

    def _rivals(self, claim: Claim) -> list[Claim]:
        return [other for other in self.conflicting(claim.keys) if other is not claim]

    def _add(self, claim: Claim) -> None:
        for key in claim.keys:
            self._by_key.setdefault(key, []).append(claim)

    def _remove(self, claim: Claim) -> None:
        for key in claim.keys:
            self._by_key[key].remove(claim)
            if not self._by_key[key]:
                del self._by_key[key]


class CidrIndex(ClaimIndex):
    """The claims of pod CIDRs, each with one span: two conflict if one contains the other."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: list[Span] = []
        self._sizes: dict[int, set[int]] = defaultdict(set)
        """The sizes of all spans, by IP version: they are few, so containing spans are found by lookup."""

    def conflicting(self, keys: Iterable[Key]) -> Iterator[Claim]:
        for version, first, last in cast("Iterable[Span]", keys):
            size = last - first + 1
            for wider in self._sizes[version]:
                if wider >= size:
                    start = first - first % wider
                    yield from self._by_key.get((version, start, start + wider - 1), ())
            at = bisect_left(self._spans, (version, first, 0))
            while at < len(self._spans) and self._spans[at] <= (version, last, last):
                found = self._spans[at]
                if found[2] <= last and found[1:] != (first, last):
                    yield from self._by_key[found]
                at += 1

    def _add(self, claim: Claim) -> None:
        super()._add(claim)
        version, first, last = span = cast("Span", claim.keys[0])
        insort(self._spans, span)
        self._sizes[version].add(last - first + 1)

    def _remove(self, claim: Claim) -> None:
        super()._remove(claim)
        del self._spans[bisect_left(self._spans, cast("Span", claim.keys[0]))]


def _younger(claim: Claim, others: Iterable[Claim]) -> list[tuple[Order, Claim]]:
    return [(other.order, other) for other in others if other.order > claim.order]
