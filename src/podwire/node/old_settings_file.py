"""The agent's file (TOML): read, checked, and refused with line and reason."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import rtoml

from podwire.node.old_settings import Peer, RawSettings, Settings, SettingsError, settle_with, typed_peers
from podwire.node.settings_file import SettingsFileError as SettingsFileError  # noqa: PLC0414  # re-exported
from podwire.text import one_line

PEER_TABLE = "\n[[peers]]\n"
TABLE = re.compile(r"^\s*\[", re.MULTILINE)
LONG_STRINGS = ('"""', "'''")
Tables = Mapping[str, Peer]
"""Peers by the text of their table, without its header."""

INDEXED = re.compile(r"(\w+)\[(\d+)\]")
SYNTAX_LINE = re.compile(r"line (\d+)")
PATH = re.compile(r" - at `\$\.?([^`]*)`")
Read = TypeVar("Read")


class _EntangledError(Exception):
    """Tables of peers that cannot be told from each other by looking at the text."""


def load(path: Path, known: Tables | None = None) -> tuple[Settings, dict[str, Peer]]:
    """The settings in a file; `known` are the peers of the last time. Raises SettingsFileError."""
    text = _text(path)
    if known:
        # Whatever is wrong is said when the whole file is read, with the right line.
        with contextlib.suppress(rtoml.TomlParsingError, msgspec.ValidationError, SettingsError, _EntangledError):
            return _settled(text, known)
    return _explained(path, text, lambda: _settled(text, {}))


def _settled(text: str, known: Tables) -> tuple[Settings, dict[str, Peer]]:
    """The settings in a text, and its peers by the text of their tables. Only tables that are not `known` are parsed.

    That a table is always the same peer is sure only for plain ones: no other table within, no string over lines.
    Raises what the parsers raise, SettingsError, and _EntangledError if something is known but not all is plain.
    """
    head, *tables = text.split(PEER_TABLE)
    fresh = [one for one in tables if one not in known]
    rest = PEER_TABLE.join([head, *fresh])
    raw = msgspec.convert(rtoml.loads(rest), RawSettings)
    long = any(quotes in rest for quotes in LONG_STRINGS)
    plain = len(raw.peers) == len(fresh) and not long and not any(map(TABLE.search, fresh))
    if known and not plain:
        raise _EntangledError
    peers = typed_peers(raw.peers)
    if not plain:
        return settle_with(raw, socket.gethostname(), peers), {}
    new = dict(zip(fresh, peers, strict=True))
    peers = [known.get(one) or new[one] for one in tables]
    return settle_with(raw, socket.gethostname(), peers), dict(zip(tables, peers, strict=True))


def read(path: Path, convert: Callable[[dict[str, Any]], Read]) -> Read:
    """What `convert` makes of a file's TOML; its ValidationError or SettingsError becomes a SettingsFileError."""
    text = _text(path)
    return _explained(path, text, lambda: convert(rtoml.loads(text)))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise SettingsFileError(f"{path}: is not UTF-8: save it as plain text") from None
    except OSError as refused:
        raise SettingsFileError(f"{path}: {refused.strerror}: name a file that can be read") from None


def _explained(path: Path, text: str, parse: Callable[[], Read]) -> Read:
    """What `parse` makes of the text; what is wrong with that, with path and line. Raises SettingsFileError."""
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
        raise SettingsFileError(f"{path}:{line_of(text, wrong.where)}: {wrong.where}: {wrong.words}") from None


def _plainly(words: str) -> str:
    """msgspec's words in those of a TOML file."""
    for theirs, ours in (
        ("Object contains unknown field", "unknown key"),
        ("Object missing required field", "missing key"),
        ("`object`", "a table"),
        ("`array`", "a list"),
        ("`str`", "a string"),
        ("`int`", "a whole number"),
        ("`bool`", "true or false"),
        ("Expected", "must be"),
    ):
        words = words.replace(theirs, ours)
    return words


def line_of(text: str, where: str, words: str = "") -> int:
    """The line at which a place such as `peers[3].pod_ranges` stands; the table's where the key is not there.

    A quoted key in `words` (an unknown one) is looked for first.
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
    for name in ([quoted[1]] if quoted else []) + [key.split("[")[0].split(".")[0]]:
        for at in range(start, len(lines)):
            if at > start and lines[at].lstrip().startswith("["):
                break
            if name and re.match(rf"\s*\"?{re.escape(name)}\"?\s*=", lines[at]):
                return at + 1
    tables = [at for at, line in enumerate(lines) if quoted and re.match(rf"\s*\[+\s*{quoted[1]}\s*\]+", line)]
    return (tables[0] if tables else start) + 1
