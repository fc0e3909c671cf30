# SPDX-License-Identifier: Apache-2.0
"""Builds the images of the lab's pods from Debian's packages, without a registry.

They are built once and kept under `${PODWIRE_CACHE:-~/.cache/podwire}/images/`; the file name has a hash of everything
that they are built from.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podwire_lab import packages, programs
from podwire_lab.archive import Image, Member, archive, layer
from podwire_lab.command import run

PAUSE, NGINX, BASH = (f"localhost/podwire-lab/{name}:latest" for name in ("pause", "nginx", "bash"))
NAMES = {"nginx": NGINX, "bash": BASH}
# Sleeps until a signal: a shell as process 1 ignores signals for which it has no trap.
SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; sleep 1000000000 & wait")
_TEMPORARY_PREFIX = ".podwire-unfinished-"
RUN = Path("/run")  # podman refuses a long path for its state
BUSYBOX = "/bin/busybox"
SHELL_PROGRAMS = {
    "/usr/bin/bash": "bash",
    "/usr/bin/curl": "curl",
    "/usr/bin/ping": "iputils-ping",
    "/usr/sbin/ip": "iproute2",
}
_NGINX_PROGRAM = "/usr/sbin/nginx"
_NGINX_CONF = """\
daemon off;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr;
events {}
http {
    access_log /dev/stdout;
    server {
        listen 80;
        listen [::]:80;
        default_type text/plain;
        location / { return 200 "nginx in pod $hostname, asked by $remote_addr\\n"; }
    }
}
"""
_PASSWD = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
_GROUP = b"root:x:0:\nnogroup:x:65534:\n"


def folder() -> Path:
    """The folder of built images."""
    return programs.cache() / "images"


def built() -> Path:
    """The archive with all images, built if it does not exist; raises NotInstalledError, CommandError."""
    target = folder() / f"lab-{_key()}.tar"
    if not target.exists():
        with temporary_folder() as here:
            beside = here / "images.tar"
            beside.write_bytes(archive(images()))
            beside.replace(target)
    return target


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder for unfinished files; if this process is killed, `remove_unfinished` removes it."""
    here = (parent or folder()) / f"{_TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
    here.mkdir(parents=True)
    try:
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)


def remove_unfinished() -> None:
    """Remove the temporary folders of processes that have ended."""
    for left in (*folder().glob(f"{_TEMPORARY_PREFIX}*"), *RUN.glob(f"{_TEMPORARY_PREFIX}*")):
        if not Path("/proc", left.name.removeprefix(_TEMPORARY_PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _key() -> str:
    """A hash of this file, the Debian release and the versions of the installed packages."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(Path("/etc/os-release").read_bytes())
    digest.update(packages.versions([*SHELL_PROGRAMS.values(), "busybox-static", "nginx", "libc6"]).encode())
    return digest.hexdigest()[:16]


def images() -> list[Image]:
    """All images, built from the packages' files; raises NotInstalledError, CommandError."""
    base, architecture = base_layer(), packages.architecture()
    shell = layer(
        [
            *(member for path, package in SHELL_PROGRAMS.items() for member in packages.program(path, package)),
            # As `sh` as well: busybox's shell runs its own ip and ping instead of those in PATH.
            *(Member(f"bin/{name}", target="/usr/bin/bash") for name in ("bash", "sh")),
        ]
    )
    wanted = ((PAUSE, (base,), SLEEP), (NGINX, (base, nginx_layer()), (_NGINX_PROGRAM,)), (BASH, (base, shell), SLEEP))
    return [Image((name,), layers, command, architecture=architecture) for name, layers, command in wanted]


def nginx_layer() -> bytes:
    """nginx, from the installed or else the downloaded package, with a configuration that answers with pod names."""
    with temporary_folder() as here:
        root = Path("/")
        if not Path(_NGINX_PROGRAM).exists():
            root = here
            packages.unpack("nginx", root)
        members = packages.program(_NGINX_PROGRAM, "nginx", root)
    return layer(
        [
            *members,
            Member("etc/nginx/nginx.conf", _NGINX_CONF.encode()),
            Member("var/log/nginx", mode=0o755, folder=True),
            Member("var/lib/nginx", mode=0o755, folder=True),
        ]
    )


def base_layer() -> bytes:
    """A small system: busybox, a link for each of its applets and the files that programs expect.

    Raises NotInstalledError if the package busybox-static is not installed.
    """
    members = packages.program(BUSYBOX, "busybox-static")
    applets = run([BUSYBOX, "--list"]).output.split()
    empty = ("dev", "proc", "root", "run", "sys", "usr/bin", "usr/sbin", "var")
    return layer(
        [
            *members,
            *(Member(f"bin/{applet}", target=BUSYBOX) for applet in applets if applet != "busybox"),
            *(Member(name, mode=0o755, folder=True) for name in empty),
            Member("tmp", mode=0o1777, folder=True),
            Member("etc/passwd", _PASSWD),
            Member("etc/group", _GROUP),
        ]
    )


def pulled(reference: str) -> Path:
    """The archive of an image: of a registry reference, or a file on this machine.

    podman pulls it into a temporary store; raises NotInstalledError, CommandError.
    """
    if os.sep in reference and Path(reference).is_file():
        return Path(reference)
    podman = str(programs.find("podman"))
    target = folder() / f"pulled-{hashlib.sha256(reference.encode()).hexdigest()[:16]}.tar"
    with temporary_folder() as here, temporary_folder(RUN) as state:
        apart = [podman, "--root", f"{here}/root", "--runroot", str(state), "--storage-driver", "vfs"]
        beside = here / "image.tar"
        run([*apart, "pull", "--quiet", reference], timeout_seconds=600)
        run([*apart, "save", "--quiet", "--format", "docker-archive", "--output", str(beside), reference])
        beside.replace(target)
    return target
