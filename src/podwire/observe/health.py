# SPDX-License-Identifier: Apache-2.0
"""Is the agent alive, and can it serve an ADD? The answers of `/healthz`, `/readyz` and `podwire status`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Ping = Callable[[], str]
"""Calls the agent's own socket as a CNI call would; returns why it is not answered, "" if it is."""


class Loop(Protocol):
    """What health asks the loop that keeps the host in its desired state (`node/loop.py`); "" where all is well."""

    @property
    def in_place(self) -> bool: ...
    def liveness_error(self) -> str: ...
    def readiness_error(self) -> str: ...


class Settings(Protocol):
    """What health asks the source of the settings (`node/source.py`)."""

    def unknown_reason(self) -> str: ...


class Health:
    """Looks when it is asked, from any thread. Both answers are "" where all is well, else one line."""

    def __init__(self, ping: Ping, loop: Loop, source: Settings | None = None) -> None:
        self._ping, self._loop, self._source = ping, loop, source
        self.serving = False  # set once CNI calls are served

    def liveness_error(self) -> str:
        """Why only a restart of the agent can help: the loop is stuck or has ended, or the socket does not answer."""
        if not self.serving:
            return ""  # it starts; what prevents that ends it
        return self._loop.liveness_error() or self._ping()

    def readiness_error(self) -> str:
        """Why a pod could not be started now: not serving, settings unknown, something missing that pods need."""
        if not self.serving:
            return "initial setup in progress"
        failing = self._loop.readiness_error()
        if self._source is not None and not self._loop.in_place and not failing:
            return f"this node's settings are not known: {self._source.unknown_reason()}"
        return self._loop.liveness_error() or failing
