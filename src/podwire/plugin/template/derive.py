# SPDX-License-Identifier: Apache-2.0
"""Templates: bytes with fields, derived by comparing the bytes of two sample pods; batches of messages made of them.

The sample pods differ in every value. Where their two texts differ, the values in which the pods differ must stand, and
these places become fields. No knowledge of the text's format is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from podwire.netlink import message as nl
from podwire.netlink.constants import NLM_F_ACK
from podwire.netlink.socket import Netlink, NetlinkError

Values = Sequence[bytes]  # the values in which pods differ, in an order that the user of a template knows
BATCHES = (b"\xb1\xa7\xc4", b"\xb2\xa8\xc5")
BATCH_SIZE = 256  # a message's sequence number is its batch's number and, in the lowest byte, its index in the batch


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
    """A template with fields where the texts have a value of their pods. Raises TemplateError."""
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


class MessageTemplate:
    """Messages with fields. The first value that `template` needs is the batch's number, in three bytes."""

    def __init__(self, messages: tuple[Sequence[bytes], Sequence[bytes]], values: tuple[Values, Values]) -> None:
        """`messages` are those of two sample pods that have `values`. Raises TemplateError."""
        first, second = (_joined(each, batch) for each, batch in zip(messages, BATCHES, strict=True))
        left, right = ((batch, *each) for batch, each in zip(BATCHES, values, strict=True))
        self.template = derive_template(first, second, (left, right))
        self._last = len(messages[0]) - 1

    def send(self, socket: Netlink, values: Values) -> list[NetlinkError]:
        """Send the messages of a pod that has `values`; the refusals, as `Netlink.batch` returns them."""
        batch = (socket.sequence // BATCH_SIZE + 1) & 0xFFFFFF
        first = batch * BATCH_SIZE
        last = socket.sequence = first + self._last
        return socket.exchange(self.template.fill((batch.to_bytes(3, "little"), *values)), first, last)


def _joined(messages: Sequence[bytes], batch: bytes) -> bytes:
    """Messages as they are sent together: numbered, the last one with a request for acknowledgement."""
    out = bytearray()
    for index, message in enumerate(messages):
        start = len(out)
        out += message + nl.PADDING[len(message) & 3]
        out[start + 8 : start + 12] = bytes([index]) + batch
    out[start + 6] |= NLM_F_ACK
    return bytes(out)
