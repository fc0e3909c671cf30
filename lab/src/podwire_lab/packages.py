# SPDX-License-Identifier: Apache-2.0
"""Reads files of Debian's packages for images: from installed packages, or from downloaded .deb files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from podwire_lab.archive import Member
from podwire_lab.command import CommandError, run
from podwire_lab.programs import NotInstalledError

_LIBRARY = re.compile(r"^\s+(?:(\S+) => )?(/\S+|not found)", re.MULTILINE)


def architecture() -> str:
    """This machine's architecture as Debian and images name it (amd64, arm64)."""
    return run(["dpkg", "--print-architecture"]).output.strip()


def versions(packages: Iterable[str]) -> str:
    """The versions of the installed packages, one per line."""
    answer = run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n", *sorted(packages)], check=False)
    return answer.output


def unpack(package: str, folder: Path) -> None:
    """Download a package and unpack it into a folder without installing it; raises NotInstalledError."""
    folder.mkdir(parents=True, exist_ok=True)
    get = ["env", "-C", str(folder), "apt-get", "-q", "download", package]
    try:
        if not run(get, check=False).ok:
            run(["apt-get", "-q", "update"])  # the package lists are old or missing
            run(get)
        run(["dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder)])
    except CommandError as failed:
        raise NotInstalledError(
            f"Debian's package {package} cannot be downloaded, {failed}: install it, or repair apt"
        ) from None


def program(path: str, package: str, root: Path = Path("/")) -> list[Member]:
    """A program of a package and the libraries that it needs, at their paths on this machine.

    Raises NotInstalledError if the program or a library is missing.
    """
    file = root / path.lstrip("/")
    if not file.exists():
        raise NotInstalledError(f"{path} is missing: apt-get install {package}")
    return [Member(path, file.read_bytes(), 0o755), *libraries(file)]


def libraries(file: Path) -> Iterator[Member]:
    """The libraries of a program, and the loader; raises NotInstalledError."""
    answer = run(["ldd", str(file)], check=False)  # fails for a static program
    for name, path in _LIBRARY.findall(answer.output):
        if not path.startswith("/"):
            raise NotInstalledError(f"{name}, which {file} needs, is not on this machine: install its package")
        yield Member(path, Path(path).read_bytes(), 0o755)
