# SPDX-License-Identifier: Apache-2.0
"""Phase timings: where the time of a call went."""

from __future__ import annotations

from time import perf_counter


class Timings:
    """The phases of one call, which begins now: (name, seconds), in order."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, float]] = []
        self._begun = perf_counter()

    def end(self, phase: str) -> None:
        """A phase ends; it took the time since the end of the phase before."""
        now = perf_counter()
        self.phases.append((phase, now - self._begun))
        self._begun = now

    def merge(self, phase: str) -> None:
        """All phases so far had no effect on the answer: they count as one."""
        self.end(phase)
        self.phases = [(phase, sum(seconds for _, seconds in self.phases))]
