# SPDX-License-Identifier: Apache-2.0
"""The agent's log: one line for each CNI call, with the time of its phases, and a line for other events.

Records of the standard library's `logging` go through a bounded queue to one writing thread (QueueHandler and
QueueListener), so a reader that is slow or absent never delays a call. When the queue is full, records are dropped and
counted. The last error of each subject is kept for `podwire status`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Mapping, Sequence
from logging.handlers import QueueHandler, QueueListener
from typing import Literal, TextIO

from podwire.observe.lines import AnsweredCall, Form, LineFormatter, error
from podwire.plugin.dispatch import Answer
from podwire.record import Record
from podwire.text import shown

MAX_ONCE_LINES = 10_000
MAX_QUEUED_RECORDS = 4096
QUIET_SECONDS, MAX_WAIT_SECONDS = 0.02, 0.2
"""Calls come before their lines: the writer waits until no record came for QUIET_SECONDS, or MAX_WAIT_SECONDS long."""

FLUSH_SECONDS = 1.0
STANDARD_ERROR = 2
Subject = Literal["call", "node", "kubernetes"]
LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Failure(Record):
    """An error and its time (seconds since the epoch)."""

    at: float
    words: str


class AgentLog:
    """The log of one agent; any thread may use it. Until `start`, lines are written at once, then by a thread."""

    def __init__(self, stream: TextIO | None = None, form: Form = "text") -> None:
        """`stream` replaces standard error, for tests."""
        self._target = _Writer(stream)
        self._target.setFormatter(LineFormatter(form))
        self._queue = _CountingQueueHandler()
        self._handler: logging.Handler = self._target
        self._listener: _Listener | None = None
        self._once: set[str] = set()
        self.failures: dict[Subject, Failure] = {}

    @property
    def dropped(self) -> int:
        """The number of records that were dropped because the queue was full."""
        return self._queue.dropped

    def start(self) -> None:
        """From now on a thread writes the lines."""
        self._listener = _Listener(self._queue, self._target)
        self._handler = self._queue
        self._listener.start()

    def close(self) -> None:
        """Write what is queued, unless nobody reads it for a second; then lines are written at once again."""
        if self._listener is not None and self._listener.finish():
            self._handler = self._target
        self._listener = None

    def note(self, words: str, level: str = "info") -> None:
        """Log one line."""
        self._handler.handle(_Record(LEVELS[level], words))

    def once(self, words: str, level: str = "warning") -> None:
        """Log a line the first time only: for problems that last."""
        if words not in self._once and len(self._once) < MAX_ONCE_LINES:
            self._once.add(words)
            self.note(words, level)

    def remember(self, about: Subject, words: str) -> None:
        """Keep `words` as the last error of this subject."""
        self.failures[about] = Failure(time.time(), words)

    def failed(self, about: Subject, words: str, *, once: bool = False) -> None:
        """Log an error and keep it as the last one of its subject."""
        self.remember(about, words)
        (self.once if once else self.note)(words, "error")

    def call(
        self,
        environment: Mapping[str, str],
        answer: Answer,
        took: float,
        kernel: float,
        phases: Sequence[tuple[str, float]] = (),
    ) -> None:
        """Log an answered call; times in seconds. Runtimes poll STATUS, so only its errors are logged."""
        verb = environment.get("CNI_COMMAND", "")
        if verb in ("STATUS", "VERSION", "") and answer.status == 0:
            return
        record = _Record(logging.ERROR if answer.status else logging.INFO, shown(verb))
        record.call = AnsweredCall(environment, answer, took, kernel, phases)
        if answer.status:
            container = shown(environment.get("CNI_CONTAINERID", ""), 64) or "-"
            self.remember("call", f"{shown(verb)} of container {container}: {error(answer)[1]}")
        self._handler.handle(record)


class _Record(logging.LogRecord):
    """A record without thread, process, file and line: no line has them, and they cost four times the rest."""

    def __init__(self, level: int, words: str) -> None:
        self.name, self.msg, self.args, self.created = "podwire", words, None, time.time()
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.exc_info = self.exc_text = self.stack_info = None
        self.call: AnsweredCall | None = None


class _CountingQueueHandler(QueueHandler):
    """Hands records on unformatted; drops and counts them when the queue is full."""

    def __init__(self) -> None:
        self.records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        super().__init__(self.records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record as it is: the listener formats it, in this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held, so the count is exact."""
        if self.records.qsize() < MAX_QUEUED_RECORDS:
            self.records.put_nowait(record)
        else:
            self.dropped += 1


class _Listener(QueueListener):
    """Writes records when no calls are under way, and tells how many were dropped."""

    def __init__(self, source: _CountingQueueHandler, target: logging.Handler) -> None:
        super().__init__(source.records, target)
        self._source, self._records, self._target = source, source.records, target
        self._told, self._waited = 0, False

    def dequeue(self, block: bool) -> logging.LogRecord:
        """The next record; before the first of several, wait until no more come for a moment."""
        record = self._records.get(block)
        before, until = -1, time.monotonic() + MAX_WAIT_SECONDS
        # None is the sentinel of `finish`.
        while record and not self._waited and self._records.qsize() != before and time.monotonic() < until:
            before = self._records.qsize()
            time.sleep(QUIET_SECONDS)
        self._waited = not self._records.empty()
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Write the record; after the last one of several, the number of dropped ones."""
        super().handle(record)
        dropped = self._source.dropped
        if dropped > self._told and self._records.empty():
            words = f"{dropped - self._told} lines were dropped: nobody read the log"
            self._told = dropped
            self._target.handle(_Record(logging.WARNING, words))

    def finish(self) -> bool:
        """End after the last record that is queued now; False if a write is stuck because nobody reads."""
        thread: threading.Thread | None = self._thread
        self.enqueue_sentinel()
        before = self._records.qsize() + 1
        while thread is not None and thread.is_alive() and (now := self._records.qsize()) < before:
            before = now
            thread.join(FLUSH_SECONDS)
        return thread is None or not thread.is_alive()


class _Writer(logging.Handler):
    """Writes whole lines to standard error, past Python's own buffers. One thread at a time uses it."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def createLock(self) -> None:  # noqa: N802  the base class's name
        """No lock: a write that is stuck would hold it, and `logging.shutdown` would wait for it for ever."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write without the lock, which the base class takes as if it were there (Python 3.13)."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Write; where nobody reads any more, the agent goes on."""
        text = self.format(record)
        with contextlib.suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
                self._stream.flush()
                return
            data = text.encode(errors="replace")
            while data:
                try:
                    data = data[os.write(STANDARD_ERROR, data) :]
                except BlockingIOError:
                    select.select([], [STANDARD_ERROR], [])
