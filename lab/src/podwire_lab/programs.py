# SPDX-License-Identifier: Apache-2.0
"""Finds the programs that a lab needs, and the folders of the machine that its nodes need."""

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
    """A program that the lab needs is missing; the message says how to install it."""


def cache() -> Path:
    """The folder of podwire's cache."""
    return Path(os.environ.get("PODWIRE_CACHE") or Path.home() / ".cache" / "podwire")


def find(name: str) -> Path:
    """The path of a program: the newest build of `make tools`, else from PATH; raises NotInstalledError."""
    built = sorted((cache() / "tools").glob(f"*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    if built:
        return built[-1]
    found = shutil.which(name)
    if found is None:
        raise NotInstalledError(
            f"{name} is not installed: `make tools` builds crictl, apt-get installs the other programs"
        )
    return Path(found)


def check(*folders: Path) -> None:
    """Raises NotInstalledError if a program that a lab starts is missing; `folders` are searched before PATH."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)])
    missing = sorted({package for name, package in _PACKAGES.items() if shutil.which(name, path=path) is None})
    if missing:
        raise NotInstalledError(f"programs that a lab needs are missing: apt-get install {' '.join(missing)}")
    find("crictl")


def podwire_argv() -> tuple[str, ...]:
    """The podwire command of the running Python's environment."""
    return (str(Path(sys.executable).parent / "podwire"),)


def needed_paths() -> list[Path]:
    """The folders that a node needs: Python, podwire, the lab and the tools that `make tools` built."""
    folders = [Path(sys.prefix), Path(sys.base_prefix), Path(podwire.__file__).parent, Path(__file__).parent]
    return [folder.resolve() for folder in (*folders, cache() / "tools")]
