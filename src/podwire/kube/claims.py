"""Which Node keeps a pod CIDR or an address that several Nodes have: the oldest. No effects.

A claim holds if no older claim that holds conflicts with it. All agents decide the same from the same Nodes, in
whatever order these arrive. A change looks again only at the claims that conflict with the changed ones, the oldest
first, so each of them is decided once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from heapq import heapify, heappop, heappush

from msgspec import Struct

from podwire.ip import Address
from podwire.node.settings import Span

Order = tuple[str, str, int]
"""Creation timestamp and name of the Node, and the position within the Node: the least is the oldest."""


class Claim(Struct, eq=False):
    """What one Node claims: one pod CIDR (as a span), or all its addresses. `lost_to` is the claim that it lost to."""

    order: Order
    span: Span | None = None
    addresses: tuple[Address, ...] = ()
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
    """The claims of one kind, and which of them hold."""

    def conflicting(self, claim: Claim) -> list[Claim]:
        """The other claims that cannot hold together with this one."""
        raise NotImplementedError

    def _add(self, claim: Claim) -> None:
        raise NotImplementedError

    def _remove(self, claim: Claim) -> None:
        raise NotImplementedError

    def change(self, removed: Collection[Claim], added: Collection[Claim]) -> set[str]:
        """Remove and add claims; the names of the Nodes with a claim that is decided otherwise than before."""
        waiting: list[tuple[Order, Claim]] = []
        for claim in removed:
            self._remove(claim)
        for claim in removed:
            waiting += _younger(claim, self.conflicting(claim)) if claim.holds else ()
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
            rivals = self.conflicting(claim)
            older = [other for other in rivals if other.order < claim.order and other.holds]
            claim.lost_to, claim.decided = min(older, key=_order, default=None), True
            if claim.lost_to is not lost_to or not decided:
                changed.add(claim.node)
            if claim.holds != held:
                for entry in _younger(claim, rivals):
                    heappush(waiting, entry)
        return changed


class CidrIndex(ClaimIndex):
    """The claims of pod CIDRs: two conflict if they overlap, that is, if one contains the other."""

    def __init__(self) -> None:
        self._by_span: dict[Span, list[Claim]] = {}
        self._sizes: dict[int, Counter[int]] = defaultdict(Counter)
        """How many spans of each size there are, by IP version: few sizes, so containing spans are found by lookup."""

        self._starts: list[Span] = []

    def overlapping(self, span: Span) -> Iterator[Claim]:
        """The claims of spans that contain this one, equal it, or lie within it."""
        version, first, last = span
        size = last - first + 1
        for wider in self._sizes[version]:
            if wider >= size:
                start = first - first % wider
                yield from self._by_span.get((version, start, start + wider - 1), ())
        at = bisect_left(self._starts, (version, first, 0))
        while at < len(self._starts) and self._starts[at] <= (version, last, last):
            found = self._starts[at]
            if found[2] <= last and found != span:
                yield from self._by_span[found]
            at += 1

    def conflicting(self, claim: Claim) -> list[Claim]:
        assert claim.span is not None
        return [other for other in self.overlapping(claim.span) if other is not claim]

    def _add(self, claim: Claim) -> None:
        assert claim.span is not None
        if claim.span not in self._by_span:
            self._by_span[claim.span] = []
            insort(self._starts, claim.span)
            self._sizes[claim.span[0]][_size(claim.span)] += 1
        self._by_span[claim.span].append(claim)

    def _remove(self, claim: Claim) -> None:
        assert claim.span is not None
        same = self._by_span[claim.span]
        same.remove(claim)
        if not same:
            del self._by_span[claim.span]
            del self._starts[bisect_left(self._starts, claim.span)]
            sizes = self._sizes[claim.span[0]]
            sizes[_size(claim.span)] -= 1
            if not sizes[_size(claim.span)]:
                del sizes[_size(claim.span)]


class AddressIndex(ClaimIndex):
    """The claims of addresses: two conflict if they have one in common."""

    def __init__(self) -> None:
        self._by_address: dict[Address, list[Claim]] = {}

    def of(self, addresses: Iterable[Address]) -> Iterator[Claim]:
        """The claims of any of these addresses."""
        for address in addresses:
            yield from self._by_address.get(address, ())

    def conflicting(self, claim: Claim) -> list[Claim]:
        return [other for other in self.of(claim.addresses) if other is not claim]

    def _add(self, claim: Claim) -> None:
        for address in claim.addresses:
            self._by_address.setdefault(address, []).append(claim)

    def _remove(self, claim: Claim) -> None:
        for address in claim.addresses:
            same = self._by_address[address]
            same.remove(claim)
            if not same:
                del self._by_address[address]


def _younger(claim: Claim, others: Iterable[Claim]) -> list[tuple[Order, Claim]]:
    return [(other.order, other) for other in others if other.order > claim.order]


def _order(claim: Claim) -> Order:
    return claim.order


def _size(span: Span) -> int:
    return span[2] - span[1] + 1
