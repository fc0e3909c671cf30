"""Where an agent's settings come from: a file, or whatever else can say when they change."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from podwire.agent.log import CallLog
from podwire.agent.settings_file import SettingsFileError, load
from podwire.kernel.watch import FileWatch
from podwire.node.settings import Peer, Settings


class Source(Protocol):
    """Settings that change. All but `descriptor`'s readiness happens in the mender's thread."""

    descriptor: int
    """Readable when there may be news."""

    def first(self) -> Settings | None:
        """The settings at the start; None where they are not known yet, so that all stays as it is meanwhile."""

    def news(self) -> Settings | None:
        """New settings, if they have changed; whoever is wrong about them says so in the log."""

    def in_force(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """These settings were brought about, by so many changes; `problems` are peers that cannot be reached."""


class FileSource:
    """The settings in a file, read again whenever it changes; a broken one leaves everything as it is."""

    def __init__(self, file: Path, log: CallLog) -> None:
        self._file = file
        self._log = log
        self._watch = FileWatch(str(file.parent))
        self._known: dict[str, Peer] = {}
        self._stamp: object = None
        self._begun = 0.0
        self._times = 0
        self.descriptor = self._watch.descriptor

    def first(self) -> Settings:
        """The file's settings; raises SettingsFileError."""
        self._begun = time.perf_counter()
        self._stamp = _stamp(self._file)
        settings, self._known = load(self._file)
        return settings

    def news(self) -> Settings | None:
        """The file's settings if it was changed and they are right."""
        self._watch.drain()
        if (stamp := _stamp(self._file)) == self._stamp:
            return None
        self._stamp = stamp
        self._begun = time.perf_counter()
        try:
            settings, self._known = load(self._file, self._known)
        except SettingsFileError as wrong:
            self._log.note(f"{wrong}; the running network stays as it is")
            return None
        return settings

    def in_force(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """Say so, with the time that reading took as well."""
        took = (time.perf_counter() - self._begun) * 1000
        self._times += 1
        if self._times == 1:
            self._log.note(f"node {settings.name}: peers={len(settings.peers)} ms={took:.1f}")
        else:
            self._log.note(f"{self._file} was read again: peers={len(settings.peers)} changes={changes} ms={took:.1f}")


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
