# SPDX-License-Identifier: Apache-2.0
"""The settings in a file, read again when it changes (inotify(7))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path

from podwire import __version__
from podwire.install.files import file_state
from podwire.netlink.constants import IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_MOVED_TO
from podwire.netlink.monitor import libc
from podwire.node.settings import NodeSettings, Peer, SettingsChange, SettingsFileError
from podwire.node.settings_file import LoadedFile, load
from podwire.node.source import Source
from podwire.observe.log import AgentLog
from podwire.observe.status import KnownNode


class WatchedFile:
    """A file, and whether it was changed; `descriptor` becomes readable when something in its folder changes.

    Editors and Kubernetes replace the file instead of writing to it, so its folder is watched.
    """

    def __init__(self, path: Path) -> None:
        """Raises SettingsFileError where there is no such folder."""
        self.path = path
        self.descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_CREATE
        if self.descriptor < 0 or libc.inotify_add_watch(self.descriptor, os.fsencode(path.parent), mask) < 0:
            words = os.strerror(ctypes.get_errno())
            raise SettingsFileError(f"{path}: {words}: name a file that can be read")
        self._state = file_state(path)

    def changed(self) -> bool:
        """Was it changed since the last call?"""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass
        before, self._state = self._state, file_state(self.path)
        return before != self._state


class FileSource(Source):
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
            upserted={name: peer for name, peer in loaded.peers.items() if before.peers.get(name) != peer},
            removed=frozenset(before.peers.keys() - loaded.peers.keys()),
            began=began,
        )

    def nodes(self) -> list[KnownNode]:
        """This node and the file's peers."""
        if (loaded := self._loaded) is None:
            return []
        return [_known_node(loaded.settings, __version__), *map(_known_node, loaded.peers.values())]


def _known_node(node: NodeSettings | Peer, version: str = "") -> KnownNode:
    return KnownNode(node.name, [*map(str, node.addresses)], [*map(str, node.pod_cidrs)], version)
