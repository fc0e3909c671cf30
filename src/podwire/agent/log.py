"""The agent's log: one line per call, with the time it took and the kernel's share of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TextIO

import msgspec

from podwire.cni.errors import shown
from podwire.verbs.dispatch import Answer

MOST_TOLD = 10_000


class CallLog:
    """Writes lines to a stream, whole ones, from any thread."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def note(self, words: str) -> None:
        """One line."""
        with self._lock:
            try:
                self._stream.write(f"podwire: {words}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads the log; serving goes on

    def once(self, words: str) -> None:
        """One line, the first time only: for problems that last."""
        if words not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(words)
            self.note(words)

    def call(self, environment: Mapping[str, str], answer: Answer, took: float, kernel: float) -> None:
        """A call that was answered; STATUS is polled, so its successes are not worth a line. Times in seconds."""
        verb = environment.get("CNI_COMMAND", "")
        if verb in ("STATUS", "VERSION", "") and answer.status == 0:
            return
        container = shown(environment.get("CNI_CONTAINERID", ""), 64)
        words = [
            shown(verb),
            f"container={container or '-'}",
            f"ifname={shown(environment.get('CNI_IFNAME', '')) or '-'}",
            f"status={answer.status}",
            f"ms={took * 1000:.2f}",
            f"kernel_ms={kernel * 1000:.2f}",
        ]
        if answer.status:
            words.append(f"error={_message(answer)}")
        self.note(" ".join(words))


def _message(answer: Answer) -> str:
    try:
        return repr(msgspec.json.decode(answer.body)["msg"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "?"
