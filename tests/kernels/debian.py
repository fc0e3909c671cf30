# SPDX-License-Identifier: Apache-2.0
"""Fetches what a guest is made of from the machine's own Debian mirror: kernels and a small root of bookworm.

Everything happens in an apt configuration of its own, so that /etc/apt and /var/lib/apt stay as they are and
a newer Debian than bookworm serves as well. The mirrors are those that the machine already uses.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RELEASE = "bookworm"

OLDEST = "5.10"
KERNELS = {
    OLDEST: ("bullseye", "linux-image-cloud-amd64"),
    "6.1": (RELEASE, "linux-image-cloud-amd64"),
    "6.12": (RELEASE, "linux-image-6.12-cloud-amd64"),
}
"""By kernel series: Debian's release, and its package that always depends on the newest build.

Mirrors drop bullseye one day: its kernel is for runs by hand, not part of the tests.
"""

PACKAGES = (
    "python3",
    "iproute2",
    "nftables",
    "libnftables1",
    "iptables",
    "conntrack",
    "kmod",
    "iputils-ping",
    "busybox-static",
    "procps",
    "strace",
    "util-linux",
)
"""What the namespace tests call, and what the guest's init needs."""


def run(*argv: str, directory: Path | None = None) -> str:
    """Run a program to its end and give its standard output; RuntimeError with its words when it fails."""
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-2000:]
        raise RuntimeError(f"{' '.join(argv[:4])} … exited with {done.returncode}: {words}")
    return done.stdout


def mirrors(release: str = RELEASE) -> list[str]:
    """The `deb` lines for a release on this machine's mirrors. LookupError where it has no Debian mirror."""
    asked = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(SITE)", "Created-By: Packages")
    sites = sorted({line.split(None, 1)[1] for line in asked.splitlines() if line.startswith("Debian http")})
    if not sites:
        raise LookupError("no Debian mirror in this machine's apt sources: add one and run apt-get update")
    lines = []
    for site in sites:
        suites = [f"{release}-security"] if "security" in site else [release]
        lines += [f"deb [arch=amd64 signed-by={KEYRING}] {site} {suite} main" for suite in suites]
    return lines


class Apt:
    """An apt with its own sources, lists and cache in `folder`."""

    def __init__(self, folder: Path, release: str = RELEASE) -> None:
        """Write the configuration and fetch the lists."""
        self.folder = folder.absolute()
        self.sources = self.folder / "sources.list"
        for part in ("state/lists/partial", "cache/archives/partial", "parts"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "state/status").touch()
        self.sources.write_text("\n".join(mirrors(release)) + "\n")
        self._options = [
            word
            for setting in (
                f"Dir::Etc::SourceList={self.sources}",
                f"Dir::Etc::SourceParts={self.folder}/parts",
                f"Dir::State={self.folder}/state",
                f"Dir::State::status={self.folder}/state/status",
                f"Dir::Cache={self.folder}/cache",
                "APT::Architecture=amd64",
                "APT::Sandbox::User=root",
            )
            for word in ("-o", setting)
        ]
        run("apt-get", *self._options, "-qq", "update")

    def newest(self, package: str) -> str:
        """The versioned package that a meta package such as `linux-image-cloud-amd64` depends on."""
        asked = run("apt-cache", *self._options, "depends", package)
        found = [line.split()[-1] for line in asked.splitlines() if "Depends: linux-" in line]
        if not found:
            raise LookupError(f"{package} is not on this machine's mirrors: {asked.strip()}")
        return found[0]

    def unpack(self, package: str, into: Path) -> None:
        """Download a package and unpack its files, without installing it anywhere."""
        run("apt-get", *self._options, "-qq", "download", package, directory=self.folder)
        for archive in self.folder.glob(f"{package}_*.deb"):
            run("dpkg-deb", "-x", str(archive), str(into))
            archive.unlink()

    def bootstrap(self, into: Path) -> None:
        """Make a root of bookworm with PACKAGES in the folder `into` (about a minute)."""
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=essential",
            "--architectures=amd64",
            f"--include={','.join(PACKAGES)}",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--customize-hook=rm -rf $1/var/lib/apt $1/var/cache/apt $1/usr/share/i18n",
            RELEASE,
            str(into),
            str(self.sources),
        )
