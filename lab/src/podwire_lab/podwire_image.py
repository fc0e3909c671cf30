"""podwire's own image, built from this checkout with deploy/Containerfile, and kept until something in it changes.

Its base is made from Debian's packages and its Python libraries come as wheels, both through this machine's apt and pip
as they are configured; the build itself needs no network, and nothing of that configuration gets into the image.
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
"""What decides about the image. The README is in the package's metadata alone: changing it makes no new image."""

EXTRAS = ("kubernetes", "metrics")
DEBIAN = ("python3", "libnftables1", "dash", "coreutils", "base-files")
"""What the agent runs on; the shell is for the build and for whoever looks inside."""

UNUSED = re.compile(
    r"\./(usr/share/(doc|man|locale|i18n|bash-completion|perl)|usr/lib/[^/]+/gconv|var/(lib/(apt|dpkg)|cache|log)|etc/apt)/"
)
KEPT = 3
"""Builds that are kept: another command may be importing one just now."""

TIMEOUT_SECONDS = 600.0


def archive() -> Path:
    """The image as a docker-archive, built if it is not there; raises NotInstalledError, CommandError."""
    if not (CHECKOUT / CONTAINERFILE).is_file():
        raise NotInstalledError(f"{CHECKOUT} holds no {CONTAINERFILE}: podwire's image is built from a checkout")
    with _only_one(), images.workshop() as here:
        _copy_inputs(here / "context")
        base = _kept("base.tar", _base_key(), _make_base)
        wheels = _kept("wheels", _wheels_key(base), lambda at: _make_wheels(base, at))
        key = _digest(inspect.getsource(_build), base.name, wheels.name, files=_contents(here / "context"))
        target = _kept("podwire.tar", key, lambda at: _build(here, base, wheels, at))
        _forget_old(target)
    return target


@contextmanager
def _only_one() -> Iterator[None]:
    """Two commands that want the image at once wait for one build."""
    images.folder().mkdir(parents=True, exist_ok=True)
    with (images.folder() / ".podwire.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        images.sweep()
        yield


def _kept(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """A file or a folder of the cache, made if it is not there: whole or not at all."""
    stem, _, suffix = name.partition(".")
    target = images.folder() / f"podwire-{stem}-{key}{'.' * bool(suffix)}{suffix}"
    if not target.exists():
        with images.workshop() as here:
            make(here / name)
            (here / name).rename(target)
    return target


def _forget_old(target: Path) -> None:
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
    """The files that decide about the image, by their paths in it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _copy_inputs(context: Path) -> None:
    """A copy of the sources, so that a change during the build is in it wholly or not at all."""
    for name in (*INPUTS, "README.md"):
        source, target = CHECKOUT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "native"))
        else:
            shutil.copy(source, target)


def _release() -> str:
    """This machine's Debian, as `bookworm`; raises NotInstalledError elsewhere."""
    found = platform.freedesktop_os_release()
    if found.get("ID") != "debian" or "VERSION_CODENAME" not in found:
        raise NotInstalledError(f"{found.get('PRETTY_NAME')} is not Debian: build {CONTAINERFILE} with a base of yours")
    return found["VERSION_CODENAME"]


def _base_key() -> str:
    return _digest(inspect.getsource(_make_base), _release(), packages.architecture(), UNUSED.pattern, *DEBIAN)


def _make_base(target: Path) -> None:
    """`mmdebstrap`: the packages unpacked, without what their scripts would do, less what nobody reads there."""
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
    """This machine's mirrors of its own release, as lines of apt's sources."""
    form = "deb $(SITE) $(RELEASE) $(COMPONENT)"
    asked = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]).output
    return sorted({line for line in asked.splitlines() if line.split()[2].startswith(_release())})


def _wheels_key(base: Path) -> str:
    return _digest(base.name, *_requirements())


def _requirements() -> list[str]:
    """What the image's podwire needs, as pyproject.toml has it, and pip, which installs it."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    chosen = (project["optional-dependencies"].get(name, []) for name in EXTRAS)
    return sorted([*project["dependencies"], *(one for group in chosen for one in group), "pip"])


def _make_wheels(base: Path, target: Path) -> None:
    """The libraries as wheels for the base's Python, which may be another than this one."""
    with tarfile.open(base) as tar:
        names = (Path(name).name for name in tar.getnames())
        version = next(name.removeprefix("python") for name in names if name.startswith("python3."))
    only = ("--only-binary=:all:", "--python-version", version, "--dest", str(target))
    _run(sys.executable, "-m", "pip", "download", "--quiet", *only, *_requirements())


def _build(here: Path, base: Path, wheels: Path, target: Path) -> None:
    """podwire's wheel, then `podman build` in a store of its own, which goes afterwards."""
    context, all_wheels = here / "context", here / "wheels"
    shutil.copytree(wheels, all_wheels)
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(all_wheels), str(context))
    with images.workshop(images.RUN) as state:
        apart = ("--root", f"{here}/root", "--runroot", str(state), "--storage-driver", "vfs")
        podman = ("podman", *apart, "--cgroup-manager", "cgroupfs")
        _run(*podman, "import", "--quiet", str(base), "localhost/podwire-base", package="podman")
        _run(
            *podman,
            "build",
            "--quiet",
            "--isolation=chroot",
            "--layers=false",
            "--build-arg=BASE=localhost/podwire-base",
            f"--volume={all_wheels}:/wheels:ro",
            f"--tag={NAME}",
            f"--file={context / CONTAINERFILE}",
            str(context),
        )
        _run(*podman, "save", "--quiet", "--format=docker-archive", f"--output={target}", NAME)


def _run(*argv: str, package: str = "") -> None:
    """Run it; raises CommandError, NotInstalledError where the program is missing."""
    try:
        run(argv, timeout_seconds=TIMEOUT_SECONDS)
    except FileNotFoundError:
        raise NotInstalledError(f"{argv[0]} is not here: apt-get install {package}") from None


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{archive()}\n")
    except (NotInstalledError, CommandError) as wrong:
        sys.exit(f"podwire: {wrong}")
