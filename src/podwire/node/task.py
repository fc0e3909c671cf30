# SPDX-License-Identifier: Apache-2.0
"""The state of one reconciler in the loop: when it is due, its last error, and its back-off."""

from __future__ import annotations

import time

from podwire.install.errors import InstallationError
from podwire.netlink.apply import KernelRefusedError
from podwire.nft.library import NftablesError
from podwire.node.reconciler import Reconciler

FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 1.0, 30.0
KNOWN_ERRORS = (KernelRefusedError, NftablesError, InstallationError, OSError)
"""What may go wrong on a host; any other exception is a bug of podwire."""


class Task:
    """What the loop knows about one reconciler. `error` and `problem` (with its name) are "" unless it failed last."""

    def __init__(self, reconciler: Reconciler) -> None:
        self.reconciler = reconciler
        self.due = self.full = True
        self.succeeded = False
        self.error = self.problem = ""
        self.exception: Exception | None = None
        self._failures = 0
        self._retry_at = 0.0

    def ready(self) -> bool:
        """Is it due, and is the back-off over?"""
        return self.due and time.monotonic() >= self._retry_at

    def done(self) -> None:
        """It succeeded."""
        self.due = self.full = False
        self.succeeded = True
        self.error = self.problem = ""
        self.exception, self._failures, self._retry_at = None, 0, 0.0

    def failed(self, exception: Exception, more: str = "") -> None:
        """It failed: it is due again after a time that doubles with each failure."""
        self.due = self.full = True
        self.exception = exception
        self.error = error_message(exception) + more
        self.problem = f"{self.reconciler.name}: {self.error}"
        wait = min(FIRST_RETRY_SECONDS * 2**self._failures, MAX_RETRY_SECONDS)
        self._failures = min(self._failures + 1, 10)
        self._retry_at = time.monotonic() + wait


def error_message(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, KNOWN_ERRORS):
        return str(error)
    return f"internal error ({type(error).__name__}: {error}): please report it"
