"""Runs the programs that the lab is made with; a failure is told in the words of the program that failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    argv: tuple[str, ...]
    status: int
    output: str
    error: str

    @property
    def ok(self) -> bool:
        """Exit status 0."""
        return self.status == 0


class CommandError(RuntimeError):
    """A command that had to succeed did not."""

    def __init__(self, done: Done) -> None:
        words = (done.error.strip() or done.output.strip() or "it said nothing")[-2000:]
        super().__init__(f"{' '.join(done.argv)}: exit {done.status}: {words}")
        self.done = done


def run(argv: Sequence[str], *, check: bool = True, stdin: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> Done:
    """Run a command to its end and return what it said.

    Raises CommandError if `check` and it ended with another status than 0, FileNotFoundError if there is no
    such program, subprocess.TimeoutExpired (the command is then killed) if it takes too long.
    """
    ended = subprocess.run(
        list(argv),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
        close_fds=False,  # Python's descriptors stay here anyway, but for a lab's lock
    )
    done = Done(tuple(argv), ended.returncode, ended.stdout, ended.stderr)
    if check and not done.ok:
        raise CommandError(done)
    return done
