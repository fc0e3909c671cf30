# SPDX-License-Identifier: Apache-2.0
"""Runs programs of the machine; the error of a failed program has the program's own output."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from podwire.record import Record

TIMEOUT_SECONDS = 120.0


class CommandResult(Record):
    """The result of a command."""

    argv: tuple[str, ...]
    status: int
    output: str
    error: str

    @property
    def ok(self) -> bool:
        """Whether the exit status is 0."""
        return self.status == 0


class CommandError(RuntimeError):
    """A command failed."""

    def __init__(self, done: CommandResult) -> None:
        words = (done.error.strip() or done.output.strip() or "no error message")[-2000:]
        super().__init__(f"{' '.join(done.argv)}: exit {done.status}: {words}")
        self.done = done


def run(
    argv: Sequence[str], *, check: bool = True, stdin: str = "", timeout_seconds: float = TIMEOUT_SECONDS
) -> CommandResult:
    """Run a command to its end and return its result.

    Raises CommandError if `check` and its exit status is not 0, FileNotFoundError if the program does not exist,
    subprocess.TimeoutExpired (the command is then killed) after the timeout.
    """
    ended = subprocess.run(
        list(argv),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_seconds,
        close_fds=False,  # the child inherits a lab's lock; Python's other descriptors are not inheritable
    )
    done = CommandResult(tuple(argv), ended.returncode, ended.stdout, ended.stderr)
    if check and not done.ok:
        raise CommandError(done)
    return done
