# SPDX-License-Identifier: Apache-2.0
"""Executes plugins as a runtime does, and measures the time with little overhead.

The pipe with standard input and the file for standard output are made before the clock starts. The measured time has
only `posix_spawn` (which does not copy this process) and `wait`.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class CallFailedError(RuntimeError):
    """A plugin ended with a status other than 0, so its time says nothing."""


@dataclass(frozen=True)
class Call:
    """One execution: the program, its whole environment, standard input (at most a pipe full: 64 KiB)."""

    program: str
    environment: Mapping[str, str]
    stdin: bytes


class _Prepared:
    def __init__(self, call: Call) -> None:
        self.call = call
        self.input, write_end = os.pipe()
        os.write(write_end, call.stdin)
        os.close(write_end)
        self.output = os.memfd_create("output")
        self.actions = [
            (os.POSIX_SPAWN_DUP2, self.input, 0),
            (os.POSIX_SPAWN_DUP2, self.output, 1),
            (os.POSIX_SPAWN_DUP2, self.output, 2),
        ]
        self.environment = {"PATH": PATH, **call.environment}

    def start(self) -> int:
        program = self.call.program
        return os.posix_spawn(program, [program], self.environment, file_actions=self.actions)

    def finish(self, status: int) -> bytes:
        """Close everything and return the output; raises CallFailedError."""
        output = os.pread(self.output, 1 << 20, 0)
        os.close(self.input)
        os.close(self.output)
        if status != 0:
            told = output.decode(errors="replace").strip()
            raise CallFailedError(f"{self.call.program}: status {status:#x}: {told}")
        return output


def run(call: Call) -> float:
    """Execute one call; the seconds from before the spawn until it is reaped."""
    prepared = _Prepared(call)
    begin = time.perf_counter()
    _, status = os.waitpid(prepared.start(), 0)
    seconds = time.perf_counter() - begin
    prepared.finish(status)
    return seconds


@dataclass(frozen=True)
class Burst:
    """Many executions: the wall time of all, and of each one from its own spawn until it is reaped."""

    wall_seconds: float
    each_seconds: Sequence[float]


def run_burst(calls: Sequence[Call], at_a_time: int) -> Burst:
    """Execute all of them, `at_a_time` at once. Raises CallFailedError when all have ended but one failed."""
    waiting = deque(map(_Prepared, calls))
    running: dict[int, tuple[_Prepared, float]] = {}
    ended: list[tuple[_Prepared, int, float]] = []
    begin = time.perf_counter()
    while waiting or running:
        while waiting and len(running) < at_a_time:
            prepared = waiting.popleft()
            start = time.perf_counter()
            running[prepared.start()] = (prepared, start)
        pid, status = os.wait()
        prepared, start = running.pop(pid)  # a KeyError here: the agent itself has ended
        ended.append((prepared, status, time.perf_counter() - start))
    wall = time.perf_counter() - begin
    for prepared, status, _ in ended:
        prepared.finish(status)
    return Burst(wall, [seconds for _, _, seconds in ended])
