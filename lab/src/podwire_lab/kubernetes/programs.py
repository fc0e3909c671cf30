"""Finds Kubernetes' programs: in the folder that is named, else those that were built here, else builds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import podwire
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


@dataclass(frozen=True)
class Kubernetes:
    """The programs of one Kubernetes: their folder, and the version that kubeadm is (v1.37.2)."""

    folder: Path
    version: str

    def program(self, name: str) -> str:
        """Where a program is."""
        return str(self.folder / name)


def found(folder: Path | None) -> Kubernetes:
    """The programs in `folder`, or wherever they are; raises NotInstalledError."""
    where = folder or _built() or _in_path() or _build()
    missing = [name for name in NAMES if not os.access(where / name, os.X_OK)]
    if missing:
        raise NotInstalledError(f"{where} lacks {', '.join(missing)}: give a folder with all of Kubernetes' programs")
    try:
        version = run([str(where / "kubeadm"), "version", "--output", "short"]).output.strip()
    except (OSError, CommandError) as failed:
        raise NotInstalledError(f"{where} holds no kubeadm that runs here: {failed}") from None
    return Kubernetes(where.resolve(), version)


def _built() -> Path | None:
    """The folder that was built last, if any."""
    built = [path.parent for path in (programs.cache() / "tools").glob("kubernetes-*/bin/kubeadm")]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


def _in_path() -> Path | None:
    """The folder of the installed ones, if they are all in one."""
    kubeadm = shutil.which("kubeadm")
    folder = Path(kubeadm).parent if kubeadm else None
    return folder if folder and all((folder / name).exists() for name in NAMES) else None


def _build() -> Path:
    """Compile them from their published modules: some ten minutes, once. It tells its progress itself."""
    if not (_CHECKOUT / _BUILDER.replace(".", os.sep)).with_suffix(".py").is_file():
        raise NotInstalledError(
            f"Kubernetes' programs ({', '.join(NAMES)}) are not here: name their folder with --kubernetes-bin"
        )
    done = subprocess.run([sys.executable, "-m", _BUILDER, "kubernetes"], cwd=_CHECKOUT, check=False)
    built = _built()
    if done.returncode or built is None:
        raise NotInstalledError("Kubernetes was not built, see above: or name its folder with --kubernetes-bin")
    return built
