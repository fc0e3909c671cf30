"""The files on the host: the plug-in under its three names, and the network configuration, written last."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec

from podwire import oneshot
from podwire.cni.errors import CniError
from podwire.cni.versions import SUPPORTED
from podwire.plugin.config import parse_configuration

LOOPBACK = "loopback"
NAMES = ("podwire", "bash-cni", LOOPBACK)
CONFIGURATION = "10-podwire.conflist"
SHIM = Path(__file__).parent.parent / "native" / "podwire"
MARK = b"PODWIRE-ONESHOT-ARGV-v1\n"
STAMP_BYTES = 1024
DEFAULT_CLUSTER = "10.244.0.0/16"
OLDEST_READERS = "1.0.0"
"""podman 4 and containerd 1.6 refuse results of 1.1.0; newer readers take the newest of `cniVersions`."""


_CHOOSE = "choose other folders with --bin-dir and --conf-dir"


class InstallationError(Exception):
    """What could not be installed or removed, and what to do: one line."""


def configuration(
    name: str,
    mode: str,
    subnet: str,
    network: str | None,
    *,
    mtu: int = 0,
    masquerade: bool = True,
    exceptions: Sequence[str] = (),
) -> bytes:
    """The conflist. Raises InstallationError for values that the plug-in itself would refuse."""
    plugin: dict[str, Any] = {"type": "podwire", "mode": mode, "subnet": subnet, "ipMasq": masquerade}
    cluster = network or _default_cluster(subnet)
    if cluster:
        plugin["network"] = cluster
    plugin["capabilities"] = {"portMappings": True, "bandwidth": True}
    if mtu:
        plugin["mtu"] = mtu
    if exceptions:
        plugin["nonMasqueradeCIDRs"] = list(exceptions)
    try:
        parse_configuration(alone(name, plugin))
    except CniError as wrong:
        raise InstallationError(f"{wrong}: nothing was installed") from None
    whole = {
        "cniVersion": OLDEST_READERS,
        "cniVersions": list(SUPPORTED),
        "name": name,
        "plugins": [plugin],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def alone(name: str, plugin: Mapping[str, Any]) -> bytes:
    """A plug-in's part of a conflist as the runtime hands it to the plug-in."""
    return msgspec.json.encode({"cniVersion": OLDEST_READERS, "name": name, **plugin})


def _default_cluster(subnet: str) -> str:
    """The cluster's range where nobody gave one: the customary one, if it holds all of the subnet."""
    try:
        ranges = [ip_network(one.strip(), strict=False) for one in subnet.split(",")]
    except ValueError:
        return ""
    cluster = ip_network(DEFAULT_CLUSTER)
    inside = all(one.version == 4 and one.subnet_of(cluster) for one in ranges)  # type: ignore[arg-type]
    return DEFAULT_CLUSTER if inside else ""


def install(bin_dir: Path, conf_dir: Path, text: bytes) -> list[str]:
    """Put everything in place, the configuration last; what was done, a line each. Raises InstallationError.

    A file is written beside, flushed and renamed: a runtime finds the old one or the new one, and a plug-in
    that is running just now is not disturbed ("text file busy").
    """
    binary = stamped(_shim(), oneshot_argv())
    done = []
    try:
        for folder in (bin_dir, conf_dir):
            folder.mkdir(parents=True, exist_ok=True)
        done.append(_put(bin_dir, binary, NAMES))
        others = _others_before(conf_dir)
        write_whole(conf_dir / CONFIGURATION, text, 0o644)
        done.append(f"{conf_dir / CONFIGURATION}: written")
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: {_CHOOSE}") from None
    return done + others


def install_for_pod(bin_dir: Path, conf_dir: Path) -> list[str]:
    """Put the plug-in in place for an agent that runs in a pod; what was done, a line each. Raises InstallationError.

    It gets no one-shot command: the Python of a container is not there on the node. Without the agent an ADD is then
    refused with code 11, "try again later", and a DEL is done by the plug-in itself. The configuration is the agent's
    to write. A `loopback` of somebody else is as good as ours, and stays.
    """
    binary = _shim()
    try:
        bin_dir.mkdir(parents=True, exist_ok=True)
        loopback = bin_dir / LOOPBACK
        names = [NAMES[0]] if loopback.exists() and not _holds_mark(loopback) else [NAMES[0], LOOPBACK]
        return [_put(bin_dir, binary, names), *_others_before(conf_dir)]
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: {_CHOOSE}") from None


def _shim() -> bytes:
    if not SHIM.is_file():
        raise InstallationError(f"{SHIM} is missing: build it with `make build`")
    return SHIM.read_bytes()


def _put(bin_dir: Path, binary: bytes, names: Sequence[str]) -> str:
    """The plug-in under its names, which are links to one file."""
    write_whole(bin_dir / names[0], binary, 0o755)
    for name in names[1:]:
        beside = bin_dir / f".{name}.{os.getpid()}"
        beside.unlink(missing_ok=True)
        beside.hardlink_to(bin_dir / names[0])
        beside.replace(bin_dir / name)
    return f"{bin_dir}: {', '.join(names)}"


def _others_before(conf_dir: Path) -> list[str]:
    """A warning, if a runtime will use another configuration instead of ours."""
    there = sorted(conf_dir.iterdir()) if conf_dir.is_dir() else []
    before = [one.name for one in there if one.suffix in (".conf", ".conflist", ".json") and one.name < CONFIGURATION]
    words = f"warning: {', '.join(before)} sorts before {CONFIGURATION}, so runtimes will use that instead"
    return [words] if before else []


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write a file beside, flush it to the disk and rename it over `path`. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    beside.replace(path)


def oneshot_argv() -> list[str]:
    """How a call is answered without an agent: this Python, without its `site`, and where the libraries are."""
    library = importlib.util.find_spec("msgspec")
    if library is None or library.origin is None:
        raise InstallationError("msgspec is missing: install podwire with its dependencies")
    return [sys.executable, "-I", "-S", str(Path(oneshot.__file__)), str(Path(library.origin).parent.parent)]


def stamped(binary: bytes, argv: list[str]) -> bytes:
    """The shim with the one-shot command in it. Raises InstallationError."""
    at = binary.find(MARK)
    if at < 0 or binary.find(MARK, at + 1) >= 0:
        raise InstallationError(f"{SHIM} has no place for the one-shot command: build it anew with `make build`")
    words = b"".join(os.fsencode(one) + b"\0" for one in argv) + b"\0"
    room = STAMP_BYTES - len(MARK)
    if len(words) > room:
        raise InstallationError(f"the paths of the one-shot command are too long ({len(words)} bytes of {room})")
    start = at + len(MARK)
    return binary[:start] + words.ljust(room, b"\0") + binary[start + room :]


def uninstall(bin_dir: Path, conf_dir: Path) -> list[str]:
    """Remove the files that `install` makes, the configuration first; other people's stay. Raises InstallationError."""
    done = []
    try:
        ours = bin_dir / NAMES[0]
        for path in (conf_dir / CONFIGURATION, *(bin_dir / name for name in NAMES[1:])):
            if path.suffix or (path.exists() and _holds_mark(path)):
                done += _remove(path)
        if ours.exists() and _holds_mark(ours):
            done += _remove(ours)
    except OSError as refused:
        raise InstallationError(f"{refused.filename}: {refused.strerror}: remove it by hand") from None
    return done


def _holds_mark(path: Path) -> bool:
    return path.is_file() and MARK in path.read_bytes()


def _remove(path: Path) -> list[str]:
    try:
        path.unlink()
    except FileNotFoundError:
        return []
    return [f"{path}: removed"]
