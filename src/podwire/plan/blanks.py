"""Formats with blanks, found by comparing: what is fixed is what two texts for two imaginary pods agree in.

To build and encode a plan anew for every pod of a network is most of what Python costs. So it is done twice, for two
imaginary pods, and never again: where the two texts differ must stand the values in which these pods differ, and those
places become blanks. Nothing is assumed about a text; a difference that no blank explains is an error.
"""

from __future__ import annotations

from collections.abc import Mapping

Values = Mapping[bytes, bytes]


class UnexplainedError(Exception):
    """Two texts differ where no blank explains it, or where more than one would."""


def blanked(first: bytes, second: bytes, values: tuple[Values, Values]) -> bytes:
    """A format for `%`, with named fields where the `first` text has one pod's value and the `second` the other's.

    Both have the same names; values of one name have one length. Raises UnexplainedError.
    """
    if len(first) != len(second):
        raise UnexplainedError(f"{len(first)} bytes and {len(second)} bytes")
    pairs = [(name, value, values[1][name]) for name, value in values[0].items() if value]
    if len({one for _, one, _ in pairs} | {other for _, _, other in pairs}) != 2 * len(pairs):
        raise UnexplainedError("values are not all different")
    pairs.sort(key=lambda pair: -len(pair[1]))  # one value may begin as another does
    out = bytearray()
    at = 0
    while at < len(first):
        for name, one, other in pairs:
            if first.startswith(one, at) and second.startswith(other, at):
                out += b"%(" + name + b")b"
                at += len(one)
                break
        else:
            byte = first[at : at + 1]
            if byte != second[at : at + 1]:
                raise UnexplainedError(f"byte {at} differs")
            out += b"%%" if byte == b"%" else byte
            at += 1
    return bytes(out)
