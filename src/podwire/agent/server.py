# SPDX-License-Identifier: Apache-2.0
"""The agent's socket: blocking threads accept a connection, answer one call, and accept again.

Threads rather than an event loop: a call is system calls that block anyway, and an event loop adds 0.45 ms.
There are few of them: one at a time runs Python, one holds the kernel's rtnl lock; more would only compete for these.
While all of them are blocked (by an IPAM plugin that hangs, by a kernel that does not answer), more are added, so that
STATUS never waits for them.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from podwire.agent import protocol
from podwire.agent.protocol import Connection
from podwire.netlink.host import Host
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from podwire.plugin.dispatch import Answer, serve, undo
from podwire.plugin.timings import Timings

BACKLOG = 512
USUAL_THREADS, MOST_THREADS = 2, 64
BLOCKED_SECONDS = 0.02
"""While all threads are busy, one is added whenever no call was answered for so long."""

STACK_BYTES = 512 * 1024
GC_THRESHOLD = 20_000
"""Allocations between two garbage collections: few, since a call makes few reference cycles."""

PEER_CREDENTIALS = struct.Struct("=iII")
ACCEPT_RETRY_SECONDS = 0.1
CLOSED = (errno.EBADF, errno.EINVAL)

CallObserver = Callable[[str, Answer, float, Sequence[tuple[str, float]]], None]
"""Called after each call: the verb, the answer, its duration and those of its phases, in seconds."""

QueryService = Callable[[str], bytes]
"""Answers a query, which is no CNI call, in JSON."""


class SocketInUseError(Exception):
    """Another agent serves this socket; the message says what to do."""


def check_unused(path: Path) -> None:
    """Raises SocketInUseError if the path is no socket, or if an agent serves it."""
    if not path.exists() and not path.is_symlink():
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise SocketInUseError(f"{path} exists and is no socket: remove it or choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise SocketInUseError(f"an agent serves {path} already: stop it or choose another --socket")


def listen(path: Path) -> socket.socket:
    """Bind the socket with mode 0600; replaces a socket that is not served any more. Raises OSError.

    It is bound under another name and renamed, so that it never has another mode under its own name.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    before = os.umask(0o177)
    try:
        listener.bind(str(beside))
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    beside.rename(path)
    return listener


class Server:
    """Serves one listening socket with as many threads as calls are under way, and a few spare."""

    def __init__(
        self,
        listener: socket.socket,
        state: PluginState,
        log: AgentLog,
        queries: QueryService,
        observer: CallObserver | None = None,
    ) -> None:
        self._listener, self._state, self._log = listener, state, log
        self._queries, self._observer = queries, observer
        self._lock = threading.Lock()
        self._accepting = self._threads = self._done = 0
        self._alarm = threading.Semaphore(0)
        self._watched = False

    def start(self) -> None:
        """Begin to serve. The garbage collector ignores everything that was loaded so far."""
        threading.stack_size(STACK_BYTES)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        for _ in range(USUAL_THREADS):
            self._add_thread()
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def _add_thread(self) -> None:
        """One more, unless there are enough. Raises OSError and RuntimeError where there is no room for it.

        Only one that has begun counts; it waits for the lock once it has its first call.
        """
        with self._lock:
            if self._threads >= MOST_THREADS:
                return
            host = Host(self._state.namespace)
            try:
                threading.Thread(target=self._work, args=(host,), daemon=True, name="call").start()
            except BaseException:
                host.close()
                raise
            self._threads += 1
            self._accepting += 1

    def _watch(self) -> None:
        """While all threads are blocked, add one after the other."""
        while True:
            self._alarm.acquire()
            while self._watched:
                before = self._done
                time.sleep(BLOCKED_SECONDS)
                with self._lock:
                    self._watched = self._accepting == 0
                if self._watched and self._done == before:
                    try:
                        self._add_thread()
                    except (OSError, RuntimeError, MemoryError) as refused:
                        words = f"calls wait: no thread can be added ({refused}): look what takes the node's tasks"
                        self._log.failed("node", words, once=True)

    def _work(self, host: Host) -> None:
        try:
            while True:
                if (connection := self._accepted()) is None:
                    return
                with self._lock:
                    self._accepting -= 1
                    if self._accepting == 0 and not self._watched:
                        self._watched = True
                        self._alarm.release()
                try:
                    self._answer_safely(connection, host)
                finally:
                    connection.close()
                with self._lock:
                    self._done += 1
                    if self._accepting >= USUAL_THREADS:
                        self._threads -= 1
                        return
                    self._accepting += 1
        finally:
            host.close()

    def _accepted(self) -> Connection | None:
        """The next connection; None when the listener is closed: the agent ends."""
        while True:
            try:
                descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]  # see Connection
                return Connection(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, descriptor)
            except OSError as refused:
                if refused.errno in CLOSED:
                    return None
                self._log.failed("node", f"connections cannot be accepted: {refused.strerror}", once=True)
                time.sleep(ACCEPT_RETRY_SECONDS)

    def _answer_safely(self, connection: Connection, host: Host) -> None:
        """Answer one connection; no exception may end the thread."""
        try:
            self._answer(connection, host)
        except Exception as bug:  # noqa: BLE001  see above
            self._log.failed("node", f"a call was not finished ({type(bug).__name__}: {bug}): please report it")

    def _answer(self, connection: Connection, host: Host) -> None:
        try:
            if _uid_of_peer(connection) != os.geteuid():
                return
            received = protocol.receive(connection)
        except (protocol.ProtocolError, OSError) as wrong:
            self._log.note(f"a connection was dropped: {wrong}", "warning")
            return
        if received is None:
            return
        if received.query:
            with contextlib.suppress(OSError):
                protocol.send_reply(connection, 0, self._queries(received.query))
            return
        begun, timings = time.perf_counter(), Timings()
        kernel_before = host.kernel_seconds
        try:
            answer = serve(received.environment, received.stdin, received.netns, host, self._state, timings)
            self._reply(connection, received, answer, host)
        finally:
            if received.netns >= 0:
                os.close(received.netns)
        took = time.perf_counter() - begun
        self._log.call(received.environment, answer, took, host.kernel_seconds - kernel_before, timings.phases)
        if self._observer is not None:
            self._observer(received.environment.get("CNI_COMMAND", ""), answer, took, timings.phases)

    def _reply(self, connection: Connection, received: protocol.Received, answer: Answer, host: Host) -> None:
        """Send the answer. An ADD whose caller is gone is undone: no DEL would follow."""
        try:
            protocol.send_reply(connection, answer.status, answer.body, to_stderr=answer.to_stderr)
        except OSError as gone:
            self._log.note(f"the caller did not wait for its answer: {gone.strerror}", "warning")
            undo(received.environment, received.stdin, answer, host, self._state)


def _uid_of_peer(connection: Connection) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    return int(PEER_CREDENTIALS.unpack(raw)[1])
