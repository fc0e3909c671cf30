# SPDX-License-Identifier: Apache-2.0
"""Finds Kubernetes' programs in a given folder, in the cache or in PATH, else builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import podwire
from podwire.record import Record
from podwire_lab import programs
from podwire_lab.command import CommandError, run
from podwire_lab.programs import NotInstalledError

NAMES = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubeadm",
    "kubectl",
    "kubelet",
)
_CHECKOUT = Path(podwire.__file__).parents[2]
_BUILDER = "tests.tools.build"


class Kubernetes(Record):
    """The programs of Kubernetes: their folder, and kubeadm's version (v1.37.2)."""

    folder: Path
    version: str

    def program(self, name: str) -> str:
        """The path of a program."""
        return str(self.folder / name)


def found(folder: Path | None) -> Kubernetes:
    """The programs in `folder` if it is given, else those that are found or built; raises NotInstalledError."""
    where = folder or _built() or _in_path() or _build()
    missing = [name for name in NAMES if not os.access(where / name, os.X_OK)]
    if missing:
        raise NotInstalledError(f"{where} lacks {', '.join(missing)}: give a folder with all of Kubernetes' programs")
    try:
        version = run([str(where / "kubeadm"), "version", "--output", "short"]).output.strip()
    except (OSError, CommandError) as failed:
        raise NotInstalledError(f"{where} has no kubeadm that runs here: {failed}") from None
    return Kubernetes(where.resolve(), version)


def _built() -> Path | None:
    """The folder of the last build, None if there is none."""
    built = [path.parent for path in (programs.cache() / "tools").glob("kubernetes-*/bin/kubeadm")]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


def _in_path() -> Path | None:
    """The folder of the installed programs, None unless all are in one folder."""
    kubeadm = shutil.which("kubeadm")
    folder = Path(kubeadm).parent if kubeadm else None
    return folder if folder and all((folder / name).exists() for name in NAMES) else None


def _build() -> Path:
    """Compile them from their published modules, once: about ten minutes. The build prints its progress."""
    if not (_CHECKOUT / _BUILDER.replace(".", os.sep)).with_suffix(".py").is_file():
        raise NotInstalledError(
            f"Kubernetes' programs ({', '.join(NAMES)}) are not installed: name their folder with --kubernetes-bin"
        )
    done = subprocess.run([sys.executable, "-m", _BUILDER, "kubernetes"], cwd=_CHECKOUT, check=False)
    built = _built()
    if done.returncode or built is None:
        raise NotInstalledError(
            "Kubernetes' build failed, see above: correct the error, or name the programs' folder with --kubernetes-bin"
        )
    return built
