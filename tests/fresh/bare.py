# SPDX-License-Identifier: Apache-2.0
"""Makes a bare Debian root file system with this machine's package settings and a clone of the checkout."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from podwire_lab.command import run
from tests.fresh import entry

PACKAGES = ("ca-certificates", "git", "make")
"""What the README takes for granted, beside the base system."""

CHECKOUT = Path(__file__).parents[2]
CLONE = Path("/root/podwire")
"""Where the checkout is, seen from inside."""

SETTINGS = ("/etc/pip.conf", "/etc/hosts", "/etc/resolv.conf")
HOME_SETTINGS = (".config/pip/pip.conf", ".pip/pip.conf", ".config/go/env")
CERTIFICATES = "/usr/local/share/ca-certificates"
VARIABLES = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOFLAGS")
VARIABLES_ANY_CASE = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
NOT_TAKEN = ("PIP_FIND_LINKS", "PIP_CACHE_DIR")
"""They name folders of the machine."""

BASE_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}
TIMEOUT_SECONDS = 900.0


def environment(machine: Mapping[str, str]) -> dict[str, str]:
    """The environment of a new login there, with the machine's settings of package clients and nothing else of it."""
    taken = {
        name: value
        for name, value in machine.items()
        if name in VARIABLES
        or name in CERTIFICATE_VARIABLES
        or name.upper() in VARIABLES_ANY_CASE
        or (name.startswith("PIP_") and name not in NOT_TAKEN)
    }
    return {**taken, **BASE_ENVIRONMENT}


def caches(machine: Mapping[str, str], home: Path) -> dict[Path, Path]:
    """The download and compile caches of Go and pip that the root shares: the machine's folder, the folder inside."""
    root = Path(BASE_ENVIRONMENT["HOME"])
    go_path = Path(machine.get("GOPATH") or home / "go")
    return {
        Path(machine.get("GOCACHE") or home / ".cache/go-build"): root / ".cache/go-build",
        Path(machine.get("GOMODCACHE") or go_path / "pkg/mod"): root / "go/pkg/mod",
        Path(machine.get("PIP_CACHE_DIR") or home / ".cache/pip"): root / ".cache/pip",
    }


def sources(targets: str, machine: str, release: str) -> list[str]:
    """The machine's Debian mirrors as apt lines for another release; `targets` has `CODENAME SITE COMPONENT` lines.

    Raises LookupError where the machine has no mirror of its own release.
    """
    lines = set()
    for line in targets.splitlines():
        codename, site, component = line.split()
        if codename.partition("-")[0] == machine:
            lines.add(f"deb {site} {release}{codename.removeprefix(machine)} {component}")
    if not lines:
        raise LookupError(f"apt has no mirror of Debian {machine}: add one to its sources, then run apt-get update")
    return sorted(lines)


def _read_targets() -> str:
    """What apt knows of its Debian mirrors; the lists are fetched if they never were."""
    ask = ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE) $(COMPONENT)"]
    ask += ["Created-By: Packages", "Origin: Debian"]
    if not (known := run(ask).output):
        run(["apt-get", "update", "-qq"], timeout_seconds=TIMEOUT_SECONDS)
        known = run(ask).output
    return known


def make(release: str, root: Path, name: str) -> None:
    """Make the root file system of a Debian release in the folder `root`; raises CommandError, LookupError, OSError."""
    acquire = _acquire_settings()
    settings = root.with_suffix(".apt.conf")
    settings.write_text(acquire)
    machine = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", f"--aptopt={settings}"]
    argv += [release, str(root), *sources(_read_targets(), machine, release)]
    if status := entry.contained(name, argv, "--mount-proc"):
        raise OSError(f"mmdebstrap exited with {status}")
    (root / "etc/apt/apt.conf.d/90machine").write_text(acquire)
    settings.unlink()
    _copy_settings(root)
    run(["git", "clone", "--quiet", "--no-hardlinks", str(CHECKOUT), f"{root}{CLONE}"])


def _acquire_settings() -> str:
    """apt's settings for downloads (proxies, timeouts, certificates), without those for the lists of desktops."""
    lines = run(["apt-config", "dump", "Acquire"]).output.splitlines()
    return "".join(f"{line}\n" for line in lines if not line.startswith("Acquire::IndexTargets"))


def _copy_settings(root: Path) -> None:
    """The machine's settings of package clients, its names of hosts and its certificates."""
    home = Path.home()
    files = {Path(name): root / name.lstrip("/") for name in SETTINGS}
    files |= {home / name: root / "root" / name for name in HOME_SETTINGS}
    for source, target in files.items():
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)
    if Path(CERTIFICATES).is_dir():
        shutil.copytree(CERTIFICATES, f"{root}{CERTIFICATES}", dirs_exist_ok=True)
    run(["chroot", str(root), "env", "-i", f"PATH={BASE_ENVIRONMENT['PATH']}", "update-ca-certificates"])


def machine_environment() -> dict[str, str]:
    """`environment` of this process."""
    return environment(os.environ)
