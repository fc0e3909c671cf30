"""Files of Debian's packages for images: of installed ones as they lie here, of others out of the archive's .deb."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from podwire_lab.archive import Member
from podwire_lab.command import CommandError, run
from podwire_lab.programs import NotInstalledError

_LIBRARY = re.compile(r"^\s+(?:(\S+) => )?(/\S+|not found)", re.MULTILINE)


def architecture() -> str:
    """This machine's, in Debian's words, which are those of images, too (amd64, arm64)."""
    return run(["dpkg", "--print-architecture"]).output.strip()


def versions(packages: Iterable[str]) -> str:
    """The versions of those packages that are installed, one a line."""
    answer = run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n", *sorted(packages)], check=False)
    return answer.output


def unpack(package: str, folder: Path) -> None:
    """Download a package and unpack it into a folder, installing nothing; raises NotInstalledError."""
    folder.mkdir(parents=True, exist_ok=True)
    get = ["env", "-C", str(folder), "apt-get", "-q", "download", package]
    try:
        if not run(get, check=False).ok:
            run(["apt-get", "-q", "update"])  # the lists are old, or were never fetched
            run(get)
        run(["dpkg-deb", "--extract", str(next(folder.glob("*.deb"))), str(folder)])
    except CommandError as failed:
        raise NotInstalledError(
            f"Debian's package {package} cannot be had, {failed}: install it, or mend apt"
        ) from None


def program(path: str, package: str, root: Path = Path("/")) -> list[Member]:
    """A program of a package with the libraries it needs, at the paths where they lie here.

    Raises NotInstalledError if it, or a library, is not here.
    """
    file = root / path.lstrip("/")
    if not file.exists():
        raise NotInstalledError(f"{path} is not here: apt-get install {package}")
    return [Member(path, file.read_bytes(), 0o755), *libraries(file)]


def libraries(file: Path) -> Iterator[Member]:
    """The libraries of a program, and the loader; raises NotInstalledError."""
    answer = run(["ldd", str(file)], check=False)  # not of a static program: it says so and fails
    for name, path in _LIBRARY.findall(answer.output):
        if not path.startswith("/"):
            raise NotInstalledError(f"{name}, which {file} needs, is not on this machine: install its package")
        yield Member(path, Path(path).read_bytes(), 0o755)
