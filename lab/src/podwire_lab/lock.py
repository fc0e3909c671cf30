"""One command at a time makes or removes a lab; whoever comes next waits until its last child has ended, too.

The lock is an flock on the lab's folder. Programs that the holder starts inherit it: when `podwire lab up` is
killed, a command that it had just begun still holds the lock until it is done, so nothing appears after removal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from podwire_lab.place import FOLDER


class LabBusyError(RuntimeError):
    """Another command makes or removes this lab just now."""


@contextmanager
def hold(lab: str, timeout_seconds: float = 0.0) -> Iterator[None]:
    """Be the only one that changes a lab; its folder is there meanwhile. Raises LabBusyError."""
    until = time.monotonic() + timeout_seconds
    folder = FOLDER / lab
    while (descriptor := _try(folder)) is None:
        if time.monotonic() > until:
            raise LabBusyError(f"another command makes or removes lab {lab} just now: wait until it has ended")
        time.sleep(0.01)
    try:
        yield
    finally:
        for empty in (folder, FOLDER):
            with suppress(OSError):  # the lab lives, or another does
                empty.rmdir()
        os.close(descriptor)


def _try(folder: Path) -> int | None:
    """The descriptor that holds the lock, None if another one holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = -1
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        flock(descriptor, LOCK_EX | LOCK_NB)
        if os.fstat(descriptor).st_ino == folder.stat().st_ino:  # else its holder has removed it meanwhile
            os.set_inheritable(descriptor, True)
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    if descriptor >= 0:
        os.close(descriptor)
    return None
