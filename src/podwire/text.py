# SPDX-License-Identifier: Apache-2.0
"""Text from outside made safe to print: one line, printable, of limited length."""

from __future__ import annotations

MESSAGE_BYTES = 480


def one_line(words: str, limit_bytes: int = MESSAGE_BYTES) -> str:
    """One printable line of at most `limit_bytes` bytes of UTF-8, cut with `…`."""
    if len(words) <= limit_bytes and words.isascii() and words.isprintable():
        return words
    line = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    raw = line.encode(errors="replace")
    if len(raw) <= limit_bytes:
        return raw.decode()
    return raw[: limit_bytes - 3].decode(errors="ignore") + "…"


def shown(value: object, limit: int = 80) -> str:
    """A value from outside as printable text for a message, of at most `limit` characters."""
    words = value if isinstance(value, str) else repr(value)
    words = one_line(words, 4 * limit)
    return words if len(words) <= limit else words[: limit - 1] + "…"
