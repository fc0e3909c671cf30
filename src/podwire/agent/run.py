# SPDX-License-Identifier: Apache-2.0
"""The agent's life: set up the host, serve CNI calls, keep the host in its desired state, end on SIGTERM."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from functools import partial
from pathlib import Path

import msgspec

from podwire.agent import protocol
from podwire.agent.server import CallObserver, Server, check_unused, listen
from podwire.cni.errors import CniError
from podwire.netlink.host import Host
from podwire.node.desired import DesiredState
from podwire.node.loop import Loop
from podwire.node.reconcilers import RECONCILERS
from podwire.node.source import Source
from podwire.observe.health import Health
from podwire.observe.log import AgentLog
from podwire.observe.status import StatusService
from podwire.plugin.context import PluginState
from podwire.plugin.network import Networks

M_ARENA_MAX = -8
PING_SECONDS = 5.0


class WebError(Exception):
    """Why the address for metrics and health cannot be served, and what to do."""


def run(
    path: Path,
    source: Source | None = None,
    log: AgentLog | None = None,
    conf_dir: Path | None = None,
    web: tuple[str, int] | None = None,
) -> None:
    """Serve `path` until SIGTERM or SIGINT; pods and their wiring stay. `source` gives the node's settings.

    `conf_dir` is for a source whose settings may come late: it has the CNI configuration that an earlier agent wrote,
    whose network is kept from the start. `web` is the address and port for metrics and health. Raises SocketInUseError,
    SettingsFileError, InstallationError, KernelRefusedError, NftablesError, WebError, OSError.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    check_unused(path)
    _use_one_heap()
    log, state = log or AgentLog(), PluginState(reconciled=True)
    log.start()
    threading.excepthook = partial(_thread_ended, log)
    try:
        desired = DesiredState(Host(state.namespace), state)
        if conf_dir:
            _recall(desired, conf_dir, log)
        loop = Loop(desired, RECONCILERS, log, source)
        health = Health(partial(_ping, path), loop, source)
        observer = _serve_web(web, health, log, loop, source, state.networks) if web else None
        loop.begin()
        listener = listen(path)
        inode = path.stat().st_ino
        try:
            status = StatusService(health, log, loop, source)
            Server(listener, state, log, status.answer, observer).start()
            log.note(f"serving {path}")
            health.serving = True
            loop.start()
            ended.wait()
        finally:
            # Only this agent's socket: the next agent may have put its own there already.
            if path.exists() and path.stat().st_ino == inode:
                path.unlink()
        log.note("ended; pods stay as they are")
    finally:
        log.close()


def _recall(desired: DesiredState, conf_dir: Path, log: AgentLog) -> None:
    try:
        desired.recall(conf_dir)
    except (OSError, CniError, msgspec.DecodeError, LookupError, TypeError) as wrong:
        log.failed("node", f"{conf_dir}: the CNI configuration is ignored until the settings are known: {wrong}")


def _ping(path: Path) -> str:
    """Why the socket is not answered, "" if it is."""
    try:
        protocol.query(path, protocol.PING, PING_SECONDS)
    except (OSError, protocol.ProtocolError) as wrong:
        return f"{path} is not answered: {wrong}"
    return ""


def _thread_ended(log: AgentLog, ended: threading.ExceptHookArgs) -> None:
    """One line instead of a traceback; `/healthz` says what it means."""
    name = ended.thread.name if ended.thread else "?"
    log.failed("node", f"thread {name} ended ({ended.exc_type.__name__}: {ended.exc_value}): please report it")


def _use_one_heap() -> None:
    """Let all threads share glibc's first heap (mallopt(3)): others never shrink (seen: 20 MiB)."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _serve_web(
    web: tuple[str, int], health: Health, log: AgentLog, loop: Loop, source: Source | None, networks: Networks
) -> CallObserver:
    """Serve metrics and health; returns the observer of calls. Imported only here: it takes 8 MiB. Raises WebError."""
    from podwire.observe.http import serve  # noqa: PLC0415
    from podwire.observe.metrics import Metrics  # noqa: PLC0415

    metrics = Metrics(log, loop, source, networks)
    try:
        where = serve(web, metrics.page, health)
    except OSError as refused:
        raise WebError(f"{refused.strerror}: choose another address or port") from None
    log.note(f"metrics and health at {where}")
    return metrics.record
