"""Where an agent's settings come from: a file, or the API server (`kube/source.py`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from podwire import __version__
from podwire.node.file_watch import FileWatch
from podwire.node.settings import NodeSettings, Peer, SettingsChange
from podwire.node.settings_file import LoadedFile, SettingsFileError, load
from podwire.observe.events import Problem
from podwire.observe.log import AgentLog
from podwire.observe.status import KnownNode


class Source(Protocol):
    """Settings that change. The loop's thread calls `start`, `changes` and `applied`, any thread the rest."""

    descriptor: int
    """Readable when `changes` may have something new."""

    name: str
    """A file's path or an API server's address, for people."""

    own_name: str
    """This node's name; "" as long as it is not known."""

    def start(self) -> None:
        """Begin to follow. Raises SettingsFileError for a file that is wrong."""

    def changes(self) -> SettingsChange | None:
        """What changed since the last time; None for nothing. The source itself logs what is wrong."""

    def applied(self) -> None:
        """The kernel has what this node's settings need, and CNI calls are served; called after every change."""

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """All that the loop cannot keep in its desired state now; called when it changes. For Events."""

    def nodes(self) -> list[KnownNode]:
        """All nodes of the cluster, this node first."""

    def silent_seconds(self) -> float | None:
        """The time since the source last answered; None for a source that is always there."""

    def unknown_reason(self) -> str:
        """Why there are no settings for this node; "" if there are."""

    def requests(self) -> Mapping[tuple[str, str], int]:
        """How many requests were made to the source, by method and result."""

    def bad_nodes(self) -> int:
        """How many nodes have a problem."""


class WatchedFile:
    """A file, and whether it was changed. Editors and Kubernetes replace the file instead of writing to it."""

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
        """Was it changed since the last call?"""
        self._watch.drain()
        before, self._stamp = self._stamp, _stamp(self.path)
        return before != self._stamp


class FileSource:
    """The settings in a file, read again when the file changes; while it is wrong, the last settings stay."""

    def __init__(self, file: Path, log: AgentLog) -> None:
        """Raises SettingsFileError where there is no such folder."""
        self._file = WatchedFile(file)
        self._log = log
        self._loaded: LoadedFile | None = None
        self._first: SettingsChange | None = None
        self.descriptor = self._file.descriptor
        self.name, self.own_name = str(file), ""

    def start(self) -> None:
        """Read the file; `changes` returns its settings. Raises SettingsFileError."""
        self._first = self._read()

    def changes(self) -> SettingsChange | None:
        """The file's settings, if it was changed and is right."""
        if (first := self._first) is not None:
            self._first = None
            return first
        if not self._file.changed():
            return None
        try:
            change = self._read()
        except SettingsFileError as wrong:
            self._log.failed("node", f"{wrong}; the last settings stay in force")
            return None
        self._log.note(f"{self.name} was read again")
        return change

    def _read(self) -> SettingsChange:
        began = time.perf_counter()
        self._file.changed()
        before = self._loaded
        self._loaded = loaded = load(self._file.path, before.tables if before else None, self._log.once)
        self.own_name = loaded.settings.name
        if before is None:
            return SettingsChange(loaded.settings, loaded.peers, complete=True, began=began)
        return SettingsChange(
            settings=loaded.settings if loaded.settings != before.settings else None,
            upserted={name: peer for name, peer in loaded.peers.items() if _differs(before.peers.get(name), peer)},
            removed=frozenset(before.peers.keys() - loaded.peers.keys()),
            began=began,
        )

    def applied(self) -> None:
        """Nothing to do for a file."""

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """Nothing to do for a file."""

    def nodes(self) -> list[KnownNode]:
        """This node and the file's peers."""
        loaded = self._loaded
        if loaded is None:
            return []
        own = _known_node(loaded.settings, __version__)
        return [own, *(_known_node(peer) for peer in loaded.peers.values())]

    def silent_seconds(self) -> None:
        """A file is always there."""

    def unknown_reason(self) -> str:
        """A file that is wrong at the start ends the agent; later the last settings stay."""
        return ""

    def requests(self) -> Mapping[tuple[str, str], int]:
        """A file takes no requests."""
        return {}

    def bad_nodes(self) -> int:
        """A file with a bad node is refused as a whole."""
        return 0


def _differs(before: Peer | None, after: Peer) -> bool:
    return before is not after and before != after


def _known_node(node: NodeSettings | Peer, version: str = "") -> KnownNode:
    return KnownNode(node.name, [*map(str, node.addresses)], [*map(str, node.pod_cidrs)], version)


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
