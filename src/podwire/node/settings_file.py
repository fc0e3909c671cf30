# SPDX-License-Identifier: Apache-2.0
"""The agent's settings file (TOML): read, checked, and refused with the line and the reason."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import rtoml
from msgspec import Struct

from podwire.node.settings import (
    CommonSettings,
    NodeSettings,
    Peer,
    PeerError,
    SettingsError,
    SettingsFileError,
    Tunnel,
)
from podwire.text import one_line

PEER_TABLE = "\n[[peers]]\n"
TABLE = re.compile(r"^\s*\[", re.MULTILINE)
LONG_STRINGS = ('"""', "'''")
Tables = Mapping[str, Peer]
"""Peers by the text of their table, without its header."""

RENAMED = {"pod_ranges": "pod_cidrs", "cluster_ranges": "cluster_cidrs"}
"""Keys of podwire 0.1, still accepted: the old name and the new one."""

OLD_NAMES = {new: old for old, new in RENAMED.items()}
INDEXED = re.compile(r"(\w+)\[(\d+)\]")
SYNTAX_LINE = re.compile(r"line (\d+)")
PATH = re.compile(r" - at `\$\.?([^`]*)`")
PLAIN = {
    "Object contains unknown field": "unknown key",
    "Object missing required field": "missing key",
    "`object`": "a table",
    "`array`": "a list",
    "`str`": "a string",
    "`int`": "a whole number",
    "`bool`": "true or false",
    "Expected": "must be",
}
Read = TypeVar("Read")
Warn = Callable[[str], None]
"""Takes a warning for people, in one line."""


class PeerTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[peers]]` table."""

    name: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    tunnel: Tunnel | None = None


class SettingsTable(CommonSettings, frozen=True, kw_only=True):
    """The whole file."""

    name: str = ""
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    cluster_cidrs: tuple[str, ...]
    peers: tuple[PeerTable, ...] = ()


class LoadedFile(Struct):
    """What a settings file says; `tables` makes the next `load` faster."""

    settings: NodeSettings
    peers: dict[str, Peer]
    tables: dict[str, Peer]


class _EntangledError(Exception):
    """Tables of peers whose limits in the text are unclear."""


def load(path: Path, known: Tables | None = None, warn: Warn | None = None) -> LoadedFile:
    """The settings in a file; `known` are the tables of the last time. Raises SettingsFileError."""
    text = _text(path)
    old: set[str] = set()
    loaded = None
    if known:
        # An error is reported after the whole file was read, with the right line.
        with contextlib.suppress(rtoml.TomlParsingError, msgspec.ValidationError, SettingsError, _EntangledError):
            loaded = _parsed(text, known, old)
    if loaded is None:
        loaded = _explained(path, text, lambda: _parsed(text, {}, old))
    _warn_of(path, old, warn)
    return loaded


def _parsed(text: str, known: Tables, old: set[str]) -> LoadedFile:
    """The settings in a text. Only the tables of peers that are not `known` are parsed.

    That a table is always the same peer is sure only for plain tables: no other table within, no string over lines.
    Old names of keys are added to `old`. Raises what the parsers raise, SettingsError, and _EntangledError if some
    tables are known but not all are plain.
    """
    head, *tables = text.split(PEER_TABLE)
    fresh = [table for table in tables if table not in known]
    rest = PEER_TABLE.join([head, *fresh])
    raw = msgspec.convert(_with_new_keys(rtoml.loads(rest), old), SettingsTable)
    long = any(quotes in rest for quotes in LONG_STRINGS)
    plain = len(raw.peers) == len(fresh) and not long and not any(map(TABLE.search, fresh))
    if known and not plain:
        raise _EntangledError
    parsed = _parse_peers(raw.peers)
    if not plain:
        return LoadedFile(_checked(raw, parsed), {peer.name: peer for peer in parsed}, {})
    new = dict(zip(fresh, parsed, strict=True))
    peers = [known.get(table) or new[table] for table in tables]
    return LoadedFile(_checked(raw, peers), {peer.name: peer for peer in peers}, dict(zip(tables, peers, strict=True)))


def _parse_peers(tables: Sequence[PeerTable]) -> list[Peer]:
    peers = []
    for place, table in enumerate(tables):
        try:
            peers.append(Peer.parse(table.name, table.addresses, table.pod_cidrs, table.tunnel))
        except PeerError as wrong:
            raise SettingsError(f"peers[{place}].{wrong.field}", wrong.message) from None
    return peers


def _checked(raw: SettingsTable, peers: Sequence[Peer]) -> NodeSettings:
    keys = msgspec.structs.asdict(raw) | {"name": raw.name or socket.gethostname()}
    del keys["peers"]
    settings = NodeSettings.parse(**keys)
    try:
        settings.check_peers(peers)
    except PeerError as wrong:
        # Of two peers with one name, the second is wrong.
        place = max(place for place, peer in enumerate(peers) if peer.name == wrong.peer)
        raise SettingsError(f"peers[{place}].{wrong.field}", wrong.message) from None
    return settings


def read(path: Path, convert: Callable[[dict[str, Any]], Read], warn: Warn | None = None) -> Read:
    """What `convert` makes of a file's TOML; its ValidationError or SettingsError becomes a SettingsFileError.

    Keys have their new names. `warn` is called for each old name.
    """
    text, old = _text(path), set[str]()
    found = _explained(path, text, lambda: convert(_with_new_keys(rtoml.loads(text), old)))
    _warn_of(path, old, warn)
    return found


def _with_new_keys(document: dict[str, Any], old: set[str]) -> dict[str, Any]:
    """The document with the new names of renamed keys; old names that it has are added to `old`."""
    peers = document.get("peers")
    _rename(document, "", old)
    for place, table in enumerate(peers if isinstance(peers, list) else ()):
        if isinstance(table, dict):
            _rename(table, f"peers[{place}].", old)
    return document


def _rename(table: dict[str, Any], where: str, old: set[str]) -> None:
    for name in RENAMED.keys() & table.keys():
        new = RENAMED[name]
        if new in table:
            raise SettingsError(where + name, f"is the old name of {new}, which is there as well: remove {name}")
        table[new] = table.pop(name)
        old.add(name)


def _warn_of(path: Path, old: set[str], warn: Warn | None) -> None:
    for name in sorted(old):
        if warn:
            warn(f"{path}: the key {name} is deprecated: its new name is {RENAMED[name]}")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise SettingsFileError(f"{path}: is not UTF-8: save it as plain text") from None
    except OSError as refused:
        raise SettingsFileError(f"{path}: {refused.strerror}: name a file that can be read") from None


def _explained(path: Path, text: str, parse: Callable[[], Read]) -> Read:
    """What `parse` makes of the text. Raises SettingsFileError with path and line."""
    try:
        return parse()
    except rtoml.TomlParsingError as wrong:
        words = str(wrong)
        line = SYNTAX_LINE.search(words)
        reason = words.splitlines()[-1] if words else "syntax"
        raise SettingsFileError(f"{path}:{line[1] if line else 1}: is not TOML: {one_line(reason, 200)}") from None
    except msgspec.ValidationError as wrong:
        place = PATH.search(str(wrong))
        where = place[1] if place else ""
        words = _plainly(PATH.sub("", str(wrong)))
        raise SettingsFileError(f"{path}:{line_of(text, where, words)}: {where or 'the file'}: {words}") from None
    except SettingsError as wrong:
        raise SettingsFileError(f"{path}:{line_of(text, wrong.field)}: {wrong}") from None


def _plainly(words: str) -> str:
    """msgspec's message in the words of a TOML file."""
    for theirs, plain in PLAIN.items():
        words = words.replace(theirs, plain)
    return words


def line_of(text: str, where: str, words: str = "") -> int:
    """The line of a place such as `peers[3].pod_cidrs`; the line of its table where the key is not there.

    A quoted key in `words` (an unknown key) is looked for first.
    """
    lines = text.splitlines()
    start, key = 0, where
    if found := INDEXED.match(where):
        headers = [at for at, line in enumerate(lines) if re.match(rf"\s*\[\[\s*{found[1]}\s*\]\]", line)]
        if int(found[2]) < len(headers):
            start = headers[int(found[2])]
        key = where[found.end() :].lstrip(".")
    elif "." in where:
        table, _, key = where.partition(".")
        start = next((at for at, line in enumerate(lines) if re.match(rf"\s*\[\s*{table}\s*\]", line)), 0)
    quoted = re.search(r"`(\w+)`", words)
    key = key.split("[")[0].split(".")[0]
    for name in ([quoted[1]] if quoted else []) + [key, OLD_NAMES.get(key, "")]:
        for at in range(start, len(lines)):
            if at > start and lines[at].lstrip().startswith("["):
                break
            if name and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", lines[at]):
                return at + 1
    tables = [at for at, line in enumerate(lines) if quoted and re.match(rf"\s*\[+\s*{quoted[1]}\s*\]+", line)]
    return (tables[0] if tables else start) + 1
