# SPDX-License-Identifier: Apache-2.0
"""Builds podwire's image from this checkout with deploy/Containerfile, and caches it until an input changes.

Debian's packages for its base and the wheels of its Python libraries come from this machine's apt and pip. The build
needs no network, and the image has nothing of this machine's configuration.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
import re
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import podwire
from podwire_lab import images, packages
from podwire_lab.command import CommandError, run
from podwire_lab.programs import NotInstalledError

NAME = f"localhost/podwire:{podwire.__version__}"
CHECKOUT = Path(podwire.__file__).parents[2]
CONTAINERFILE = "deploy/Containerfile"
INPUTS = ("src", "shim", "hatch_build.py", "pyproject.toml", "LICENSE", CONTAINERFILE)
"""The inputs of the image. The README is only in the package's metadata: a change of it needs no new image."""

EXTRAS = ("kubernetes", "metrics")
DEBIAN = ("python3", "libnftables1", "dash", "coreutils", "base-files")
"""The packages that the agent needs, and a shell for the build and for debugging."""

UNUSED = re.compile(
    r"\./(usr/share/(doc|man|locale|i18n|bash-completion|perl)|usr/lib/[^/]+/gconv|var/(lib/(apt|dpkg)|cache|log)|etc/apt)/"
)
LOW_LIMITS = ("--ulimit=nofile=1024:4096", "--ulimit=nproc=1024:4096")
"""For the build: by itself podman 5 raises its own limits, which needs CAP_SYS_RESOURCE."""

KEPT = 3
"""How many builds stay in the cache: another command may be importing an older build."""

TIMEOUT_SECONDS = 600.0


def archive() -> Path:
    """The image as a docker-archive, built if it does not exist; raises NotInstalledError, CommandError."""
    if not (CHECKOUT / CONTAINERFILE).is_file():
        raise NotInstalledError(f"{CHECKOUT} has no {CONTAINERFILE}: run this from a checkout")
    with _build_lock(), images.temporary_folder() as here:
        _copy_inputs(here / "context")
        base = _cached("base.tar", _base_key(), _make_base)
        wheels = _cached("wheels", _wheels_key(base), lambda at: _make_wheels(base, at))
        key = _digest(inspect.getsource(_build), base.name, wheels.name, files=_contents(here / "context"))
        target = _cached("podwire.tar", key, lambda at: _build(here, base, wheels, at))
        _delete_old(target)
    return target


@contextmanager
def _build_lock() -> Iterator[None]:
    """A second command waits until the first has built the image."""
    images.folder().mkdir(parents=True, exist_ok=True)
    with (images.folder() / ".podwire.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        images.remove_unfinished()
        yield


def _cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A file or a folder of the cache; if it does not exist, `make` builds it and it is renamed into place."""
    stem, _, suffix = name.partition(".")
    target = images.folder() / f"podwire-{stem}-{key}{'.' * bool(suffix)}{suffix}"
    if not target.exists():
        with images.temporary_folder() as here:
            make(here / name)
            (here / name).rename(target)
    return target


def _delete_old(target: Path) -> None:
    target.touch()
    builds = sorted(images.folder().glob("podwire-podwire-*.tar"), key=lambda path: path.stat().st_mtime)
    for old in builds[:-KEPT]:
        old.unlink(missing_ok=True)


def _digest(*words: str, files: Mapping[str, bytes] | None = None) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for name, content in sorted((files or {}).items()):
        digest.update(f"\0{name}\0".encode() + content)
    return digest.hexdigest()[:16]


def _contents(folder: Path) -> dict[str, bytes]:
    """The inputs of the image by their paths."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _copy_inputs(context: Path) -> None:
    """Copy the sources, so that a change during the build has no effect on it."""
    for name in (*INPUTS, "README.md"):
        source, target = CHECKOUT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "native"))
        else:
            shutil.copy(source, target)


def _release() -> str:
    """This machine's Debian release, for example `bookworm`; raises NotInstalledError on another distribution."""
    found = platform.freedesktop_os_release()
    if found.get("ID") != "debian" or "VERSION_CODENAME" not in found:
        raise NotInstalledError(f"{found.get('PRETTY_NAME')} is not Debian: build {CONTAINERFILE} with your own BASE")
    return found["VERSION_CODENAME"]


def _base_key() -> str:
    return _digest(inspect.getsource(_make_base), _release(), packages.architecture(), UNUSED.pattern, *DEBIAN)


def _make_base(target: Path) -> None:
    """Unpack the packages by `mmdebstrap`, without their scripts, and leave out documentation and caches."""
    settings, raw = target.with_name("apt.conf"), target.with_name("raw.tar")
    settings.write_text(run(["apt-config", "dump", "Acquire"]).output)
    _run(
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        '--extract-hook=echo root:x:0:0:root:/root:/bin/sh >"$1/etc/passwd"; echo root:x:0: >"$1/etc/group"',
        f"--include={','.join(DEBIAN)}",
        f"--aptopt={settings}",
        _release(),
        str(raw),
        *_sources(),
        package="mmdebstrap",
    )
    with tarfile.open(raw) as whole, tarfile.open(target, "w") as base:
        for member in whole:
            if not UNUSED.match(member.name):
                base.addfile(member, whole.extractfile(member) if member.isreg() else None)


def _sources() -> list[str]:
    """This machine's mirrors of its release, as lines for apt."""
    form = "deb $(SITE) $(RELEASE) $(COMPONENT)"
    asked = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]).output
    return sorted({line for line in asked.splitlines() if line.split()[2].startswith(_release())})


def _wheels_key(base: Path) -> str:
    return _digest(base.name, *_requirements())


def _requirements() -> list[str]:
    """The requirements of podwire in the image, from pyproject.toml, and pip, which installs them."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    chosen = (project["optional-dependencies"].get(name, []) for name in EXTRAS)
    return sorted([*project["dependencies"], *(requirement for group in chosen for requirement in group), "pip"])


def _make_wheels(base: Path, target: Path) -> None:
    """Download the libraries as wheels for the base's Python, whose version may differ from this Python's."""
    with tarfile.open(base) as tar:
        names = (Path(name).name for name in tar.getnames())
        version = next(name.removeprefix("python") for name in names if name.startswith("python3."))
    only = ("--only-binary=:all:", "--python-version", version, "--dest", str(target))
    _run(sys.executable, "-m", "pip", "download", "--quiet", *only, *_requirements())


def _build(here: Path, base: Path, wheels: Path, target: Path) -> None:
    """Build podwire's wheel, then the image by `podman build` in a temporary store."""
    context, all_wheels = here / "context", here / "wheels"
    shutil.copytree(wheels, all_wheels)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(all_wheels), str(context))
    with images.temporary_folder(images.RUN) as state:
        apart = ("--root", f"{here}/root", "--runroot", str(state), "--storage-driver", "vfs")
        podman = ("podman", *apart, "--cgroup-manager", "cgroupfs")
        _run(*podman, "import", "--quiet", str(base), "localhost/podwire-base", package="podman")
        _run(
            *podman,
            "build",
            "--quiet",
            "--isolation=chroot",
            "--layers=false",
            *LOW_LIMITS,
            "--build-arg=BASE=localhost/podwire-base",
            f"--volume={all_wheels}:/wheels:ro",
            f"--tag={NAME}",
            f"--file={context / CONTAINERFILE}",
            str(context),
        )
        _run(*podman, "save", "--quiet", "--format=docker-archive", f"--output={target}", NAME)


def _run(*argv: str, package: str = "") -> None:
    """Run a command; raises CommandError, and NotInstalledError if the program is missing."""
    try:
        run(argv, timeout_seconds=TIMEOUT_SECONDS)
    except FileNotFoundError:
        raise NotInstalledError(f"{argv[0]} is missing: apt-get install {package}") from None


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{archive()}\n")
    except (NotInstalledError, CommandError) as wrong:
        sys.exit(f"podwire: {wrong}")
