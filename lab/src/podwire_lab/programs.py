"""Finds the programs that a lab needs, and says which paths of the machine its nodes must see."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import podwire

_PACKAGES = {
    "bash": "bash",
    "busybox": "busybox-static",
    "containerd": "containerd",
    "ctr": "containerd",
    "curl": "curl",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ping": "iputils-ping",
    "runc": "runc",
}


class NotInstalledError(RuntimeError):
    """A program that the lab needs is not on this machine; the message says how to get it."""


def cache() -> Path:
    """Where what is built once is kept."""
    return Path(os.environ.get("PODWIRE_CACHE") or Path.home() / ".cache" / "podwire")


def find(name: str) -> Path:
    """The program `name`: the newest that `make tools` built, else the one in PATH; raises NotInstalledError."""
    built = sorted((cache() / "tools").glob(f"*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    if built:
        return built[-1]
    found = shutil.which(name)
    if found is None:
        raise NotInstalledError(f"{name} is not installed: `make tools` builds crictl, apt has the rest")
    return Path(found)


def check(*folders: Path) -> None:
    """Whether all is here that a lab starts; `folders` come before the PATH. Raises NotInstalledError."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)])
    missing = sorted({package for name, package in _PACKAGES.items() if shutil.which(name, path=path) is None})
    if missing:
        raise NotInstalledError(f"not all is here that a lab needs: apt-get install {' '.join(missing)}")
    find("crictl")


def podwire_argv() -> tuple[str, ...]:
    """The podwire command that belongs to the running Python."""
    return (str(Path(sys.executable).parent / "podwire"),)


def needed_paths() -> list[Path]:
    """The folders that a node must see: Python, podwire and what `make tools` built."""
    folders = [Path(sys.prefix), Path(sys.base_prefix), Path(podwire.__file__).parent]
    return [folder.resolve() for folder in (*folders, cache() / "tools")]
