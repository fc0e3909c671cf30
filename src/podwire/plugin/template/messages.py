"""A batch of messages encoded once for all pods of a network, with blanks (`plan/blanks.py`) to be filled for each."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.netlink import message as nl
from podwire.netlink.constants import NLM_F_ACK
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.plugin.template.derive import Values, derive_template

BATCHES = (b"\xb1\xa7\xc4", b"\xb2\xa8\xc5")
PLACES = 256
"""A message's sequence number is its batch's number and, in the last byte, its place in it."""


class MessageTemplate:
    """Messages with blanks: the first value that `format` wants is the batch's number, in three bytes."""

    def __init__(self, messages: tuple[Sequence[bytes], Sequence[bytes]], values: tuple[Values, Values]) -> None:
        """`messages` are a plan's for two imaginary pods that have `values`. Raises TemplateError."""
        first, second = (_joined(each, batch) for each, batch in zip(messages, BATCHES, strict=True))
        one, other = ((batch, *each) for batch, each in zip(BATCHES, values, strict=True))
        self.format = derive_template(first, second, (one, other))
        self._last = len(messages[0]) - 1

    def send(self, socket: Netlink, values: Values) -> list[NetlinkError]:
        """Send the batch of a pod that has `values`; the refusals, as `Netlink.batch` gives them."""
        batch = (socket.sequence // PLACES + 1) & 0xFFFFFF
        first = batch * PLACES
        last = socket.sequence = first + self._last
        return socket.exchange(self.format.fill((batch.to_bytes(3, "little"), *values)), first, last)


def _joined(messages: Sequence[bytes], batch: bytes) -> bytes:
    """Messages as they are sent together: numbered, the last one asking for an acknowledgement."""
    out = bytearray()
    for place, one in enumerate(messages):
        start = len(out)
        out += one + nl.PADDING[len(one) & 3]
        out[start + 8 : start + 12] = bytes([place]) + batch
    out[start + 6] |= NLM_F_ACK
    return bytes(out)
