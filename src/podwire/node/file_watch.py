"""A file that is watched for changes (inotify(7))."""

from __future__ import annotations

import ctypes
import os

from podwire.netlink.constants import IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_MOVED_TO
from podwire.netlink.monitor import libc


class FileWatch:
    """Tells when files in a folder are written, renamed or removed (inotify(7)); `descriptor` becomes readable."""

    def __init__(self, folder: str) -> None:
        self.descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_CREATE
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, os.fsencode(folder), mask) < 0:
            failed = ctypes.get_errno()
            raise OSError(failed, os.strerror(failed), folder)

    def drain(self) -> None:
        """Discard all pending notifications."""
        try:
            while os.read(self.descriptor, 4096):
                pass
        except BlockingIOError:
            return
