"""The agent's log: one line per call, with the time that each of its steps took, and a line for whatever else happens.

Lines go through a bounded queue to one writing thread: whoever does not read them never holds up a call. When the
queue is full, lines are dropped and counted. What failed last, of each kind, is remembered for `podwire status`.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TextIO

from msgspec import Struct

from podwire.observe.lines import Call, Form, Line, error, formatted
from podwire.plugin.dispatch import Answer
from podwire.text import shown

MOST_TOLD = 10_000
MOST_QUEUED = 4096
MOST_AT_ONCE = 512
"""Lines in one write(2)."""

QUIET_SECONDS, LONGEST_WAIT_SECONDS = 0.02, 0.2
"""Calls go before their lines: the writer waits until nothing was said for so long, or this long at most."""

FLUSH_SECONDS = 1.0
STANDARD_ERROR = 2
About = Literal["call", "node", "kubernetes"]
KINDS = {
    "ip link": "link",
    "ip addr": "address",
    "ip address": "address",
    "ip route": "route",
    "ip neigh": "neighbour",
    "bridge fdb": "forwarding",
    "sysctl -w": "sysctl",
}
"""What a command that mends is about; all others are the firewall's (nft)."""


class Failure(Struct, frozen=True):
    """What failed, and when (seconds since the epoch)."""

    at: float
    words: str


class CallLog:
    """Takes lines from any thread. Until `start`, they are written at once; from then on by a thread of its own."""

    def __init__(self, stream: TextIO | None = None, form: Form = "text") -> None:
        """`stream` instead of standard error is for tests."""
        self._stream = stream
        self._form: Form = form
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._told: set[str] = set()
        self._lost = False
        self.dropped = 0
        self.failures: dict[About, Failure] = {}
        self.mended_by_kind: Counter[str] = Counter()

    def start(self) -> None:
        """From now on a thread writes, so that writing never holds up whoever has something to say."""
        self._writer = threading.Thread(target=self._write_all, daemon=True, name="log")
        self._writer.start()

    def close(self) -> None:
        """Write what is queued, unless nobody reads it for a second; then write at once again."""
        if self._writer is not None:
            self._queue.put(None)
            before = self._queue.qsize() + 1
            while self._writer.is_alive() and (now := self._queue.qsize()) < before:
                before = now
                self._writer.join(FLUSH_SECONDS)
            self._lost = self._writer.is_alive()
            self._writer = None

    def note(self, words: str, level: str = "info") -> None:
        """One line."""
        self._put(Line(time.time(), level, words))

    def once(self, words: str, level: str = "warning") -> None:
        """One line, the first time only: for problems that last."""
        if words not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(words)
            self.note(words, level)

    def remember(self, about: About, words: str) -> None:
        """From now on this is the last failure of its kind."""
        self.failures[about] = Failure(time.time(), words)

    def failed(self, about: About, words: str, *, once: bool = False) -> None:
        """Something failed: it is remembered, and is a line."""
        self.remember(about, words)
        if once:
            self.once(words, "error")
        else:
            self.note(words, "error")

    def mended(self, words: str, *, quietly: bool = False) -> None:
        """A change that keeps the host as it should be, spelled as the command that it equals."""
        self.mended_by_kind[KINDS.get(" ".join(words.split()[:2]), "firewall")] += 1
        if not quietly:
            self.note(f"mended: {words}")

    def call(
        self,
        environment: Mapping[str, str],
        answer: Answer,
        took: float,
        kernel: float,
        phases: Sequence[tuple[str, float]] = (),
    ) -> None:
        """A call that was answered; STATUS is polled, so its successes are not worth a line. Times in seconds."""
        verb = environment.get("CNI_COMMAND", "")
        if verb in ("STATUS", "VERSION", "") and answer.status == 0:
            return
        now = time.time()
        call = Call(environment, answer, took, kernel, phases)
        if answer.status:
            container = shown(environment.get("CNI_CONTAINERID", ""), 64)
            self.failures["call"] = Failure(now, f"{shown(verb)} of container {container or '-'}: {error(answer)[1]}")
        self._put(Line(now, "error" if answer.status else "info", shown(verb), call))

    def _put(self, line: Line) -> None:
        if self._writer is None:
            if not self._lost:
                self._write(formatted(line, self._form))
        elif self._queue.qsize() < MOST_QUEUED:
            self._queue.put(line)
        else:
            with self._lock:
                self.dropped += 1

    def _write_all(self) -> None:
        told = 0
        while True:
            lines = [self._queue.get()]
            if lines[0] is not None:
                self._wait_for_quiet()
            while lines[-1] is not None and len(lines) < MOST_AT_ONCE and not self._queue.empty():
                lines.append(self._queue.get())
            self._write("".join(self._formatted(one) for one in lines if one is not None))
            if self.dropped > told:
                words = f"{self.dropped - told} lines were dropped: nobody read the log"
                told = self.dropped
                self._write(formatted(Line(time.time(), "warning", words), self._form))
            if lines[-1] is None:
                return

    def _wait_for_quiet(self) -> None:
        until = time.monotonic() + LONGEST_WAIT_SECONDS
        while (before := self._queue.qsize()) < MOST_AT_ONCE and time.monotonic() < until:
            time.sleep(QUIET_SECONDS)
            if self._queue.qsize() == before:
                return

    def _formatted(self, line: Line) -> str:
        """The line; a fault of ours in making it must not end the thread that writes all others."""
        try:
            return formatted(line, self._form)
        except Exception as unforeseen:  # noqa: BLE001  see above
            words = f"a line could not be written ({type(unforeseen).__name__}: {unforeseen}): please report it"
            return formatted(Line(line.at, "error", words), self._form)

    def _write(self, text: str) -> None:
        """Write whole lines; where nobody reads any more, serving goes on."""
        try:
            if self._stream is None:
                _write_whole(STANDARD_ERROR, text.encode(errors="replace"))
                return
            with self._lock:
                self._stream.write(text)
                self._stream.flush()
        except (OSError, ValueError):
            return


def _write_whole(descriptor: int, data: bytes) -> None:
    """All of it, past Python's own buffers: a thread that is stuck in these would keep the process from ending."""
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
