# SPDX-License-Identifier: Apache-2.0
"""The pieces that a guest boots from: a kernel with its modules, a root, Python packages, and the checkout.

The first three are made once and kept in `${PODWIRE_CACHE:-~/.cache/podwire}/kernels/<name>-<key>/`; the key
covers what they are made from. Delete the folder for a newer kernel. The initramfs is these archives one
after the other: the kernel unpacks them in that order.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.kernels.debian import KERNELS, PACKAGES, RELEASE, Apt, run

CHECKOUT = Path(__file__).parents[2]
INIT = Path(__file__).with_name("init.sh")

RECIPE = "1"
"""Part of every key: raise it when a piece is made differently."""

GUEST_PYTHON = "3.11"
"""The Python of bookworm, which the guest's root is made from."""

MODULES = ("arch/x86/crypto", "crypto", "drivers/char", "drivers/net", "drivers/virtio", "fs/overlayfs", "lib", "net")
"""What is taken along of a kernel's modules; disks and graphics nobody needs here."""

ONLY_ON_THE_HOST = ("hatchling", "mypy", "ruff", "podwire[")
"""What looks at source text alone, and what talks to API servers: no kernel makes a difference to them."""


@dataclass(frozen=True)
class Kernel:
    """A kernel to boot: the folder with its `vmlinuz`, `modules.cpio.gz` and `release`."""

    folder: Path

    @property
    def release(self) -> str:
        """What `uname -r` will say."""
        return (self.folder / "release").read_text().strip()


def cache() -> Path:
    """The folder that the pieces are kept in."""
    home = os.environ.get("PODWIRE_CACHE") or str(Path.home() / ".cache" / "podwire")
    return Path(home).absolute() / "kernels"


def kernel(series: str) -> Kernel:
    """The newest kernel of a series ("6.1") that Debian has."""
    return Kernel(_piece(f"linux-{series}", (*KERNELS[series], *MODULES), lambda at: _make_kernel(series, at)))


def initramfs(booted: Kernel, into: Path, *, script: str) -> None:
    """Write the initramfs for a kernel to the file `into`: root, modules, Python packages, this checkout.

    The guest's init runs `script` in the checkout, which is /podwire there.
    """
    requirements = _requirements()
    root = _piece("root", (RELEASE, *PACKAGES), _make_root)
    python = _piece("python", (GUEST_PYTHON, *requirements), lambda at: _make_python(requirements, at))
    archives = [
        root / "root.cpio.gz",
        booted.folder / "modules.cpio.gz",
        python / "python.cpio.gz",
        into.with_suffix(".checkout"),
    ]
    with tempfile.TemporaryDirectory(prefix="podwire-checkout-") as tree:
        _lay_out_checkout(Path(tree))
        (Path(tree) / "run-tests").write_text(script)
        _pack(Path(tree), archives[-1])
    with into.open("wb") as whole:
        for archive in archives:
            with archive.open("rb") as part:
                shutil.copyfileobj(part, whole)
            whole.write(b"\0" * (-whole.tell() % 512))  # the kernel skips zeros between archives
    archives[-1].unlink()


def _piece(name: str, ingredients: tuple[str, ...], make: Callable[[Path], None]) -> Path:
    """The folder of a piece, made by `make(folder)` if need be: whole or not there, also after Ctrl-C."""
    key = hashlib.sha256("\0".join((RECIPE, *ingredients)).encode()).hexdigest()[:12]
    final = cache() / f"{name}-{key}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
            try:
                make(beside)
                beside.rename(final)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    return final


def _pack(tree: Path, archive: Path) -> None:
    """Pack a folder as an initramfs archive, all of it owned by root."""
    names = run("find", ".", "-mindepth", "1", "-print0", directory=tree)
    packed = subprocess.run(
        ["cpio", "--quiet", "--null", "--create", "--format=newc", "--owner=+0:+0"],
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        check=True,
    )
    archive.write_bytes(gzip.compress(packed.stdout, compresslevel=1))


def _make_kernel(series: str, folder: Path) -> None:
    """Unpack Debian's kernel package and keep the image and the modules that a network test can need."""
    with tempfile.TemporaryDirectory(prefix="podwire-kernel-") as temporary:
        release, package = KERNELS[series]
        apt, tree = Apt(Path(temporary) / "apt", release), Path(temporary) / "tree"
        apt.unpack(apt.newest(package), tree)
        image = next((tree / "boot").glob("vmlinuz-*"))
        version = image.name.removeprefix("vmlinuz-")
        kept = Path(temporary) / "kept"
        source, target = (top / "lib/modules" / version for top in (tree, kept))
        for part in MODULES:
            if (source / "kernel" / part).is_dir():
                shutil.copytree(source / "kernel" / part, target / "kernel" / part, dirs_exist_ok=True)
        for file in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            shutil.copy(source / file, target / file)
        run("depmod", "-b", str(kept), version)
        # The root's /lib is a link into /usr; a folder of that name would take the link's place.
        (kept / "usr").mkdir()
        (kept / "lib").rename(kept / "usr/lib")
        _pack(kept, folder / "modules.cpio.gz")
        shutil.copy(image, folder / "vmlinuz")
        (folder / "release").write_text(version + "\n")


def _make_root(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="podwire-root-") as temporary:
        tree = Path(temporary) / "tree"
        Apt(Path(temporary) / "apt").bootstrap(tree)
        _pack(tree, folder / "root.cpio.gz")


def _requirements() -> tuple[str, ...]:
    """The Python packages that the tests need, as pyproject.toml names them."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return tuple(sorted(name for name in named if not name.startswith(ONLY_ON_THE_HOST)))


def _make_python(requirements: tuple[str, ...], folder: Path) -> None:
    """Wheels for the guest's Python, whatever this machine's own is, where its `.venv` keeps them."""
    with tempfile.TemporaryDirectory(prefix="podwire-python-") as temporary:
        packages = Path(temporary) / "podwire/.venv/lib" / f"python{GUEST_PYTHON}" / "site-packages"
        wheels = [f"--python-version={GUEST_PYTHON}", "--implementation=cp", "--only-binary=:all:"]
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", f"--target={packages}"]
        run(*pip, *wheels, *requirements)
        (packages / "podwire.pth").write_text("/podwire/src\n")
        _pack(Path(temporary), folder / "python.cpio.gz")


def _lay_out_checkout(tree: Path) -> None:
    """Lay out /podwire as a checkout in which `make build` has run, and /init."""
    home = tree / "podwire"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("src", "tests", "shim", "bench"):
        shutil.copytree(CHECKOUT / part, home / part, ignore=ignored, symlinks=True)
    for file in ("pyproject.toml", "hatch_build.py", "README.md"):
        shutil.copy(CHECKOUT / file, home / file)
    commands = home / ".venv/bin"
    commands.mkdir(parents=True)
    (home / ".venv/pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {GUEST_PYTHON}\n")
    for name in ("python", "python3"):
        (commands / name).symlink_to("/usr/bin/python3")
    for name, module in (("podwire", "podwire.cli.main"), ("pytest", "pytest")):
        start = f"#!/podwire/.venv/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        (commands / name).write_text(start)
        (commands / name).chmod(0o755)
    shutil.copy(INIT, tree / "init")
    (tree / "init").chmod(0o755)
