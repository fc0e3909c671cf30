# SPDX-License-Identifier: Apache-2.0
"""Shows the progress of a build: animated lines on a terminal, otherwise a plain line for each step."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Steps:
    """The steps of a build, shown with the seconds since its start. Several threads may use it."""

    def __init__(self, title: str) -> None:
        self._begun = time.monotonic()
        self._lock = Lock()
        self._rich: Progress | None = None
        self._lines: dict[str, TaskID] = {}
        if sys.stderr.isatty():
            self._rich = _moving(title)
        else:
            self._print(title)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._begun

    def step(self, name: str, words: str, *, done: bool = False) -> None:
        """Show the current step of a node or a part; `done`: it is complete."""
        with self._lock:
            if self._rich is None:
                self._print(f"{self.seconds:5.1f} s  {name}: {words}")
                return
            if name not in self._lines:
                self._lines[name] = self._rich.add_task(words, total=1, name=name)
            line = self._lines[name]
            self._rich.update(line, description=words, completed=int(done))
            if done:
                self._rich.stop_task(line)

    def __enter__(self) -> Self:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich:
            self._rich.stop()

    def _print(self, line: str) -> None:
        with suppress(BrokenPipeError):
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (progress goes to the terminal)


def _moving(title: str) -> Progress:
    from rich.console import Console  # noqa: PLC0415 (only for a terminal)
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    console.print(title, style="bold", highlight=False)
    return Progress(
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("[bold]{task.fields[name]}[/]"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
    )
