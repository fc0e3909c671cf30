# SPDX-License-Identifier: Apache-2.0
"""The files on the host: the plugin under its three names, and the CNI configuration, written last."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from podwire import oneshot
from podwire.install.cni_config import FILE_NAME
from podwire.install.errors import InstallationError

LOOPBACK = "loopback"
NAMES = ("podwire", "bash-cni", LOOPBACK)
SHIM = Path(__file__).parent.parent / "native" / "podwire"
MARK = b"PODWIRE-ONESHOT-ARGV-v1\n"
STAMP_BYTES = 1024

NEXT_STEP = "choose other folders with --bin-dir and --conf-dir"


def install(bin_dir: Path, conf_dir: Path, text: bytes) -> list[str]:
    """Put everything in place, the configuration last; what was done, a line each. Raises InstallationError."""
    binary = stamped(_shim(), oneshot_argv())
    done = []
    try:
        for folder in (bin_dir, conf_dir):
            folder.mkdir(parents=True, exist_ok=True)
        done.append(_put(bin_dir, binary, NAMES))
        others = _others_before(conf_dir)
        write_atomically(conf_dir / FILE_NAME, text, 0o644)
        done.append(f"{conf_dir / FILE_NAME}: written")
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: {NEXT_STEP}") from None
    return done + others


def install_for_pod(bin_dir: Path, conf_dir: Path) -> list[str]:
    """Put the plugin in place for an agent that runs in a pod; what was done, a line each. Raises InstallationError.

    It gets no one-shot command: the Python of a container does not exist on the node. Without the agent an ADD is then
    refused with code 11, and the plugin itself does a DEL. The agent writes the CNI configuration. Another project's
    `loopback` plugin is as good as podwire's, and stays.
    """
    binary = _shim()
    try:
        bin_dir.mkdir(parents=True, exist_ok=True)
        loopback = bin_dir / LOOPBACK
        foreign = loopback.exists() and not (loopback.is_file() and MARK in loopback.read_bytes())
        return [_put(bin_dir, binary, NAMES[:1] if foreign else (NAMES[0], LOOPBACK)), *_others_before(conf_dir)]
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: {NEXT_STEP}") from None


def _shim() -> bytes:
    if not SHIM.is_file():
        raise InstallationError(f"{SHIM} is missing: build it with `make build`")
    return SHIM.read_bytes()


def _put(bin_dir: Path, binary: bytes, names: Sequence[str]) -> str:
    """Write the plugin under its names, which are links to one file."""
    write_atomically(bin_dir / names[0], binary, 0o755)
    for name in names[1:]:
        beside = bin_dir / f".{name}.{os.getpid()}"
        beside.unlink(missing_ok=True)
        beside.hardlink_to(bin_dir / names[0])
        beside.replace(bin_dir / name)
    return f"{bin_dir}: {', '.join(names)}"


def _others_before(conf_dir: Path) -> list[str]:
    """A warning, if runtimes will use another configuration instead of podwire's."""
    there = sorted(conf_dir.iterdir()) if conf_dir.is_dir() else []
    before = [path.name for path in there if path.suffix in (".conf", ".conflist", ".json") and path.name < FILE_NAME]
    words = f"warning: {', '.join(before)} sorts before {FILE_NAME}, so runtimes will use that instead"
    return [words] if before else []


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Write a file under another name, flush it to the disk and rename it. Raises OSError.

    A runtime finds the old file or the new one, and a running plugin is not disturbed ("text file busy").
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    beside.replace(path)


def oneshot_argv() -> list[str]:
    """The command that answers a call without an agent: this Python, without its `site`, and the libraries' folder."""
    library = importlib.util.find_spec("msgspec")
    if library is None or library.origin is None:
        raise InstallationError("msgspec is missing: install podwire with its dependencies")
    return [sys.executable, "-I", "-S", str(Path(oneshot.__file__)), str(Path(library.origin).parent.parent)]


def stamped(binary: bytes, argv: list[str]) -> bytes:
    """The shim with the one-shot command in it. Raises InstallationError."""
    at = binary.find(MARK)
    if at < 0 or binary.find(MARK, at + 1) >= 0:
        raise InstallationError(f"{SHIM} has no place for the one-shot command: build it again with `make build`")
    words = b"".join(os.fsencode(word) + b"\0" for word in argv) + b"\0"
    room = STAMP_BYTES - len(MARK)
    if len(words) > room:
        raise InstallationError(f"the paths of the one-shot command are too long ({len(words)} bytes of {room})")
    start = at + len(MARK)
    return binary[:start] + words.ljust(room, b"\0") + binary[start + room :]


def uninstall(bin_dir: Path, conf_dir: Path) -> list[str]:
    """Remove the files that `install` makes, the configuration first; other files stay. Raises InstallationError."""
    done = []
    try:
        for path in (conf_dir / FILE_NAME, *(bin_dir / name for name in (*NAMES[1:], NAMES[0]))):
            if os.path.lexists(path) and (path.suffix or (path.is_file() and MARK in path.read_bytes())):
                path.unlink()
                done.append(f"{path}: removed")
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: remove it by hand") from None
    return done


def file_state(path: Path) -> object:
    """Another value after each change or replacement of a file; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
