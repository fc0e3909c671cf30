# SPDX-License-Identifier: Apache-2.0
"""The lock of a lab: only one command at a time builds or removes it.

The lock is an flock on the lab's folder. Child processes inherit it: if `podwire lab up` is killed, its last command
holds the lock until it ends, so it cannot create anything after the removal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from podwire_lab.lab_host import FOLDER


class LabBusyError(RuntimeError):
    """Another command is building or removing this lab."""


@contextmanager
def hold(lab: str, timeout_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lab's lock; its folder exists as long as the lock is held. Raises LabBusyError."""
    until = time.monotonic() + timeout_seconds
    folder = FOLDER / lab
    while (descriptor := _try(folder)) is None:
        if time.monotonic() > until:
            raise LabBusyError(f"another command is building or removing lab {lab}: wait until it ends")
        time.sleep(0.01)
    try:
        yield
    finally:
        for empty in (folder, FOLDER):
            with suppress(OSError):  # this lab, or another, still exists
                empty.rmdir()
        os.close(descriptor)


def _try(folder: Path) -> int | None:
    """The descriptor that holds the lock; None if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        flock(descriptor, LOCK_EX | LOCK_NB)
        if os.fstat(descriptor).st_ino == folder.stat().st_ino:  # else the previous holder has removed it
            os.set_inheritable(descriptor, True)
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    if descriptor >= 0:
        os.close(descriptor)
    return None
