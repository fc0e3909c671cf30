"""A message template: a batch of netlink messages, encoded once for all pods of a network."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.netlink import message as nl
from podwire.netlink.constants import NLM_F_ACK
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.plugin.template.derive import Values, derive_template

BATCHES = (b"\xb1\xa7\xc4", b"\xb2\xa8\xc5")
BATCH_SIZE = 256
"""A message's sequence number is its batch's number and, in the lowest byte, its index in the batch."""


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
