# SPDX-License-Identifier: Apache-2.0
"""BLAKE2 without `hashlib`, which loads OpenSSL: that takes a tenth of the time of a one-shot process."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # not CPython
    from hashlib import blake2b

__all__ = ["blake2b"]
