"""What the agent tells `podwire status`, over its own socket."""

from __future__ import annotations

import os
import time

import msgspec
from msgspec import Struct

from podwire import __version__
from podwire.agent import protocol
from podwire.node.old_source import KnownNode, Source
from podwire.node.reconciler import Mender
from podwire.observe.health import Health
from podwire.observe.lines import rfc3339
from podwire.observe.log import AgentLog
from podwire.text import shown

WORDS_LETTERS = 400


class ShownFailure(Struct, frozen=True):
    """What failed last, of one kind (`about`: call, node, kubernetes); `time` is RFC 3339."""

    about: str
    time: str
    words: str


class AgentState(Struct):
    """One agent. Times are RFC 3339; `silent_seconds`: since the API server was last heard, None without one."""

    version: str
    pid: int
    since: str
    node: str
    source: str
    ready: bool
    reason: str
    silent_seconds: float | None
    mode: str
    cluster_ranges: list[str]
    nodes: list[KnownNode]
    problems: list[str]
    failures: list[ShownFailure]
    dropped_lines: int


class StatusService:
    """Answers questions about the agent, from any thread."""

    def __init__(self, health: Health, log: AgentLog, mender: Mender, source: Source | None) -> None:
        self._health = health
        self._log = log
        self._mender = mender
        self._source = source
        self._since = rfc3339(time.time())

    def answer(self, question: str) -> bytes:
        """The answer in JSON: what `AgentState` has, or `{}` for whoever only wants an answer."""
        return msgspec.json.encode(self.state()) if question == protocol.STATUS else b"{}"

    def state(self) -> AgentState:
        """All about the agent now."""
        reason = self._health.readiness_error()
        settings = self._mender.paths.settings
        return AgentState(
            version=__version__,
            pid=os.getpid(),
            since=self._since,
            node=self._source.own_name if self._source else "",
            source=self._source.name if self._source else "",
            ready=not reason,
            reason=reason,
            silent_seconds=self._source.silent_seconds() if self._source else None,
            mode=settings.mode if settings else "",
            cluster_ranges=[str(one) for one in settings.cluster] if settings else [],
            nodes=self._source.nodes() if self._source else [],
            problems=[shown(one, WORDS_LETTERS) for one in list(self._mender.paths.wanted.problems)],
            failures=[
                ShownFailure(about, rfc3339(one.at), shown(one.words, WORDS_LETTERS))
                for about, one in sorted(dict(self._log.failures).items(), key=lambda pair: pair[1].at)
            ],
            dropped_lines=self._log.dropped,
        )
