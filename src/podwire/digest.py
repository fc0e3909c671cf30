"""BLAKE2 without OpenSSL: `hashlib` loads it, which costs a process for one call a tenth of its time."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # another Python than CPython
    from hashlib import blake2b

__all__ = ["blake2b"]
