"""Formats with blanks, found by comparing: what is fixed is what two texts for two imaginary pods agree in.

To build and encode a plan anew for every pod of a network is most of what Python costs. So it is done twice, for two
imaginary pods, and never again: where the two texts differ must stand the values in which these pods differ, and those
places become blanks. Nothing is assumed about a text; a difference that no blank explains is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

Values = Sequence[bytes]
"""What pods differ in, in an order that whoever fills a format knows."""


class TemplateError(Exception):
    """Two texts differ where no blank explains it, or where more than one would."""


class Format:
    """A text with blanks, each for one of `count` values."""

    def __init__(self, pieces: Sequence[bytes | int], count: int) -> None:
        """A piece is either fixed, or the place of a value."""
        fixed = tuple(one for one in pieces if isinstance(one, bytes))
        place_of_fixed = iter(range(count, count + len(fixed)))
        self._fixed = fixed
        self._choose = itemgetter(*(one if isinstance(one, int) else next(place_of_fixed) for one in pieces))

    def fill(self, values: Values) -> bytes:
        """The text of a pod that has these values."""
        return b"".join(self._choose((*values, *self._fixed)))


def derive_template(first: bytes, second: bytes, values: tuple[Values, Values]) -> Format:
    """A format with blanks where the `first` text has one pod's value and the `second` the other's.

    A value has one length in both. Raises TemplateError.
    """
    if len(first) != len(second):
        raise TemplateError(f"{len(first)} bytes and {len(second)} bytes")
    pairs = [(place, *pair) for place, pair in enumerate(zip(*values, strict=True)) if pair[0]]
    if len({one for _, one, _ in pairs} | {other for _, _, other in pairs}) != 2 * len(pairs):
        raise TemplateError("values are not all different")
    pairs.sort(key=lambda pair: -len(pair[1]))  # one value may begin as another does
    pieces: list[bytes | int] = [b""]  # two at least: of one, `itemgetter` makes no tuple
    fixed, at = bytearray(), 0
    while at < len(first):
        for place, one, other in pairs:
            if first.startswith(one, at) and second.startswith(other, at):
                pieces += [bytes(fixed), place]
                fixed.clear()
                at += len(one)
                break
        else:
            if first[at] != second[at]:
                raise TemplateError(f"byte {at} differs")
            fixed.append(first[at])
            at += 1
    return Format([*pieces, bytes(fixed)], len(values[0]))
