# SPDX-License-Identifier: Apache-2.0
"""The plugin's errors: a code and one line with cause, value and next step (section 5: Error).

Codes 1 to 99 are the specification's, from 100 on they are podwire's. libcni shows people `msg` alone and drops
the code, so `msg` carries everything. The same failure gives the same text at every retry: no times, no process IDs.
"""

from __future__ import annotations

import errno

from podwire.text import one_line

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
UNDECODABLE = 6
INVALID_CONFIGURATION = 7
INVALID_NAMESPACE = 8
TRY_AGAIN = 11
UNAVAILABLE = 50

KERNEL_REFUSED = 100
EXISTS = 101
RANGE_FULL = 102
ADDRESS_TAKEN = 103
DIFFERENT = 104
DELEGATE_FAILED = 105
FIREWALL = 106
HOST_PORT_TAKEN = 108

EXHAUSTED = frozenset((errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
"""Temporary failures: no descriptor, thread or memory was left."""


class CniError(Exception):
    """A failed call: `code`, `message` (one line) and `details`."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = one_line(message)
        self.details = one_line(details)


def invalid(message: str) -> CniError:
    """The error for a wrong network configuration (code 7)."""
    return CniError(INVALID_CONFIGURATION, message)


def refusal_of_kernel(doing: str, refused: OSError) -> CniError:
    """The error for a refusal by the kernel: code 11 (try again) if it is temporary, else 100."""
    message = f"{doing}: {refused.strerror}"
    if refused.errno in EXHAUSTED:
        return CniError(TRY_AGAIN, f"{message}: try again, and look what takes the node's descriptors, tasks or memory")
    return CniError(KERNEL_REFUSED, message)
