"""Does the agent live, and can it serve an ADD? What `/healthz`, `/readyz` and `podwire status` say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from podwire.agent import protocol
from podwire.node.old_source import Source
from podwire.node.reconciler import Mender

ANSWER_SECONDS = 5.0


class Runtime(Protocol):
    """The container runtime's configuration: why it could not be written, "" if it could."""

    trouble: str


class Health:
    """Looks when it is asked, from any thread. Both answers are "" where all is well, else one line."""

    def __init__(self, path: Path, mender: Mender, runtime: Runtime, source: Source | None = None) -> None:
        self._path = path
        self._mender = mender
        self._runtime = runtime
        self._source = source
        self.serving = False
        """Set once calls are served."""

    def liveness_error(self) -> str:
        """Why only a new agent can help: the mender is stuck or dead, or the socket is not answered.

        The socket is asked as a call would ask it, so that whatever keeps calls from being answered is seen.
        """
        if not self.serving:
            return ""  # it begins; what keeps it from that ends it
        if dead := self._mender.liveness_error():
            return dead
        try:
            protocol.ask(self._path, protocol.PING, ANSWER_SECONDS)
        except (OSError, protocol.ProtocolError) as wrong:
            return f"{self._path} is not answered: {wrong}"
        return ""

    def readiness_error(self) -> str:
        """Why a pod could not be started now: not serving, no settings, no host part, no configuration."""
        if not self.serving:
            return "the host is being brought about"
        if self._source is not None and not self._mender.in_place and not self._mender.trouble:
            return f"this node's settings are not known: {self._source.unknown_reason()}"
        return self._mender.liveness_error() or self._mender.trouble or self._runtime.trouble
