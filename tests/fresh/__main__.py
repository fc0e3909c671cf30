# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fresh [RELEASE ...]`: both commands in a bare Debian of each release; bookworm unless named."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from types import FrameType

from podwire_lab.command import CommandError
from tests.fresh import bare, entry

FOLDER = Path("/var/tmp/podwire-fresh")  # noqa: S108 (its own folder, for root alone)
COMMANDS = ("make lab", "make test")


def script(release: str) -> str:
    """What runs inside: each command, and how long it took."""
    lines = [f"cd {bare.CLONE}"]
    for command in COMMANDS:
        lines += [
            "SECONDS=0",
            f'{command} || {{ echo "fresh: {release}: {command} failed after $SECONDS s"; exit 1; }}',
            f'echo "fresh: {release}: {command} passed in $SECONDS s"',
        ]
    return "\n".join(lines)


def prove(release: str) -> bool:
    """Whether both commands pass in a bare Debian of that release; raises CommandError, LookupError, OSError."""
    with entry.removed(FOLDER / release, release) as folder:
        root = folder / "root"
        started = time.monotonic()
        bare.make(release, root, release)
        say(f"{release}: bare root made in {time.monotonic() - started:.0f} s")
        shared = bare.caches(os.environ, Path.home())
        return not entry.run(root, release, script(release), environment=bare.machine_environment(), caches=shared)


@contextmanager
def only_one() -> Iterator[None]:
    """Only one run at a time on a machine; a second one waits."""
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            say(f"waiting for the end of another run, which holds {FOLDER}")
            flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def say(line: str) -> None:
    """One line of progress."""
    print(f"fresh: {line}", flush=True)  # noqa: T201


def _end_in_order(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(releases: list[str]) -> int:
    """Exit status: 0 if both commands pass in every release."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end_in_order)
    try:
        with only_one():
            failed = [release for release in releases or ["bookworm"] if not prove(release)]
    except (CommandError, LookupError, OSError) as wrong:
        say(str(wrong))
        return 1
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
