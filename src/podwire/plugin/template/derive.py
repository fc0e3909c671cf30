"""Templates: bytes with fields, derived by comparing the bytes of two sample pods.

To compute and encode the messages of a pod is most of the work in Python. So it is done once for two sample pods that
differ in every value. Where their two texts differ, the values in which the pods differ must stand, and these places
become fields. No knowledge of the text's format is needed; a difference that no value explains is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

Values = Sequence[bytes]
"""The values in which pods differ, in an order that the user of a template knows."""


class TemplateError(Exception):
    """Two texts differ where no value explains it, or where more than one value would."""


class Template:
    """Bytes with fields, each for one of `count` values."""

    def __init__(self, pieces: Sequence[bytes | int], count: int) -> None:
        """A piece is either fixed bytes or the index of a value."""
        fixed = tuple(piece for piece in pieces if isinstance(piece, bytes))
        index_of_fixed = iter(range(count, count + len(fixed)))
        self._fixed = fixed
        self._choose = itemgetter(*(piece if isinstance(piece, int) else next(index_of_fixed) for piece in pieces))

    def fill(self, values: Values) -> bytes:
        """The bytes for a pod with these values."""
        return b"".join(self._choose((*values, *self._fixed)))


def derive_template(first: bytes, second: bytes, values: tuple[Values, Values]) -> Template:
    """A template with fields where `first` has a value of one pod and `second` that of the other.

    A value has the same length in both. Raises TemplateError.
    """
    if len(first) != len(second):
        raise TemplateError(f"{len(first)} bytes and {len(second)} bytes")
    pairs = [(index, *pair) for index, pair in enumerate(zip(*values, strict=True)) if pair[0]]
    if len({left for _, left, _ in pairs} | {right for _, _, right in pairs}) != 2 * len(pairs):
        raise TemplateError("values are not all different")
    pairs.sort(key=lambda pair: -len(pair[1]))  # one value may begin like another
    pieces: list[bytes | int] = [b""]  # at least two: with one, `itemgetter` returns no tuple
    fixed, at = bytearray(), 0
    while at < len(first):
        for index, left, right in pairs:
            if first.startswith(left, at) and second.startswith(right, at):
                pieces += [bytes(fixed), index]
                fixed.clear()
                at += len(left)
                break
        else:
            if first[at] != second[at]:
                raise TemplateError(f"byte {at} differs")
            fixed.append(first[at])
            at += 1
    return Template([*pieces, bytes(fixed)], len(values[0]))
