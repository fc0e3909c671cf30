"""Where an agent's settings come from: a file, or whatever else can say when they change."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from podwire import __version__
from podwire.node.file_watch import FileWatch
from podwire.node.old_settings import Peer, Settings
from podwire.node.old_settings_file import SettingsFileError, load
from podwire.observe.log import AgentLog


class KnownNode(Struct, frozen=True):
    """A node as the settings' source has it; `problem` says what is wrong with it, `news` what it did last."""

    name: str
    addresses: Sequence[str]
    pod_ranges: Sequence[str]
    version: str = ""
    problem: str = ""
    news: str = ""


class Source(Protocol):
    """Settings that change. All but the questions below happens in the mender's thread."""

    descriptor: int
    """Readable when there may be news."""

    name: str
    """What it is, for people: a file's path, an API server's address."""

    own_name: str
    """This node's name; "" as long as it is not known."""

    def first(self) -> Settings | None:
        """The settings at the start; None where they are not known yet, so that all stays as it is meanwhile."""

    def news(self) -> Settings | None:
        """New settings, if they have changed; whoever is wrong about them says so in the log."""

    def applied(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """These settings were brought about, by so many changes; `problems` are peers that cannot be reached."""

    def nodes(self) -> list[KnownNode]:
        """All nodes of the cluster, this one among them, from any thread."""

    def silent_seconds(self) -> float | None:
        """For how long nothing was heard of the source; None where it is always there. From any thread."""

    def unknown_reason(self) -> str:
        """Why there are no settings for this node, if there are none. From any thread."""

    def requests(self) -> Mapping[tuple[str, str], int]:
        """How many requests were made to it, by method and what came of them. From any thread."""

    def bad_nodes(self) -> int:
        """How many nodes something is wrong with. From any thread."""


class WatchedFile:
    """A file, and whether it was changed; editors and Kubernetes put another one in its place."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsFileError where there is no such folder."""
        self.path = path
        try:
            self._watch = FileWatch(str(path.parent))
        except OSError as refused:
            raise SettingsFileError(f"{path}: {refused.strerror}: name a file that can be read") from None
        self._stamp = _stamp(path)
        self.descriptor = self._watch.descriptor

    def changed(self) -> bool:
        """Is it another one than at the last question?"""
        self._watch.drain()
        before, self._stamp = self._stamp, _stamp(self.path)
        return before != self._stamp


class FileSource:
    """The settings in a file, read again whenever it changes; a broken one leaves everything as it is."""

    def __init__(self, file: Path, log: AgentLog) -> None:
        self._file = WatchedFile(file)
        self._log = log
        self._known: dict[str, Peer] = {}
        self._settings: Settings | None = None
        self._begun = 0.0
        self._times = 0
        self.descriptor = self._file.descriptor
        self.name, self.own_name = str(file), ""

    def first(self) -> Settings:
        """The file's settings; raises SettingsFileError."""
        self._begun = time.perf_counter()
        self._file.changed()
        settings, self._known = load(self._file.path)
        return self._taken(settings)

    def _taken(self, settings: Settings) -> Settings:
        self._settings, self.own_name = settings, settings.name
        return settings

    def news(self) -> Settings | None:
        """The file's settings if it was changed and they are right."""
        if not self._file.changed():
            return None
        self._begun = time.perf_counter()
        try:
            settings, self._known = load(self._file.path, self._known)
        except SettingsFileError as wrong:
            self._log.failed("node", f"{wrong}; the running network stays as it is")
            return None
        return self._taken(settings)

    def applied(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """Say so, with the time that reading took as well."""
        took = (time.perf_counter() - self._begun) * 1000
        self._times += 1
        if self._times == 1:
            self._log.note(f"node {settings.name}: peers={len(settings.peers)} ms={took:.1f}")
        else:
            self._log.note(f"{self.name} was read again: peers={len(settings.peers)} changes={changes} ms={took:.1f}")

    def nodes(self) -> list[KnownNode]:
        """This node and the file's peers."""
        if self._settings is None:
            return []
        known = [_known(self._settings, __version__)]
        return known + [_known(one) for one in self._settings.peers.values()]

    def silent_seconds(self) -> None:
        """A file says nothing by itself."""

    def unknown_reason(self) -> str:
        """A file that is wrong at the start ends the agent; later the settings of before stay."""
        return ""

    def requests(self) -> Mapping[tuple[str, str], int]:
        """A file is not asked."""
        return {}

    def bad_nodes(self) -> int:
        """A file with bad nodes is refused as a whole."""
        return 0


def _known(one: Settings | Peer, version: str = "") -> KnownNode:
    return KnownNode(one.name, [str(each) for each in one.addresses], [str(each) for each in one.pod_ranges], version)


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
