# SPDX-License-Identifier: Apache-2.0
"""The agent's answer to `podwire status`, over its own socket."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from podwire import __version__
from podwire.observe.health import Health
from podwire.observe.lines import rfc3339
from podwire.observe.log import AgentLog
from podwire.text import shown

WORDS_LETTERS = 400
STATUS = "status"
"""The query for an AgentState; any other is answered with `{}`, to show that the agent answers."""


class KnownNode(Struct, frozen=True):
    """A node as the settings' source knows it. `problem`: what is wrong; `last_change`: its last change of address."""

    name: str
    addresses: Sequence[str]
    pod_cidrs: Sequence[str]
    version: str = ""
    problem: str = ""
    last_change: str = ""


class Settings(Protocol):
    """What the status tells of this node's settings."""

    @property
    def mode(self) -> str: ...
    @property
    def cluster_cidrs(self) -> Sequence[object]: ...


class Source(Protocol):
    """What the status asks the source of the settings (`node/source.py`)."""

    name: str
    own_name: str

    def silent_seconds(self) -> float | None: ...
    def nodes(self) -> list[KnownNode]: ...


class Loop(Protocol):
    """What the status asks the loop that keeps the host in its desired state (`node/loop.py`)."""

    @property
    def settings(self) -> Settings | None: ...
    def problems(self) -> list[str]: ...


class ShownFailure(Struct, frozen=True):
    """The last error of a subject (`about`: call, node, kubernetes); `time` is RFC 3339."""

    about: str
    time: str
    words: str


class AgentState(Struct):
    """One agent. Times are RFC 3339; `silent_seconds`: since the API server last answered, None without one."""

    version: str
    pid: int
    since: str
    node: str
    source: str
    ready: bool
    reason: str
    silent_seconds: float | None
    mode: str
    cluster_cidrs: list[str]
    nodes: list[KnownNode]
    problems: list[str]
    failures: list[ShownFailure]
    dropped_lines: int


class StatusService:
    """Answers queries about the agent, from any thread."""

    def __init__(self, health: Health, log: AgentLog, loop: Loop, source: Source | None) -> None:
        self._health, self._log, self._loop, self._source = health, log, loop, source
        self._since = rfc3339(time.time())

    def answer(self, query: str) -> bytes:
        """The answer to a query, in JSON."""
        return msgspec.json.encode(self.state()) if query == STATUS else b"{}"

    def state(self) -> AgentState:
        """The agent's state now."""
        reason, settings, source = self._health.readiness_error(), self._loop.settings, self._source
        failures = sorted(dict(self._log.failures).items(), key=lambda pair: pair[1].at)
        return AgentState(
            version=__version__,
            pid=os.getpid(),
            since=self._since,
            node=source.own_name if source else "",
            source=source.name if source else "",
            ready=not reason,
            reason=reason,
            silent_seconds=source.silent_seconds() if source else None,
            mode=settings.mode if settings else "",
            cluster_cidrs=[*map(str, settings.cluster_cidrs)] if settings else [],
            nodes=source.nodes() if source else [],
            problems=[shown(problem, WORDS_LETTERS) for problem in self._loop.problems()],
            failures=[
                ShownFailure(about, rfc3339(failure.at), shown(failure.words, WORDS_LETTERS))
                for about, failure in failures
            ],
            dropped_lines=self._log.dropped,
        )
