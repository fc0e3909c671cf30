"""The agent's life: bring the host about, serve CNI calls, keep the host in order, end on SIGTERM."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import threading
from functools import partial
from pathlib import Path

import msgspec

from podwire.agent.server import Record, Server, check_unused, listen
from podwire.cni.errors import CniError
from podwire.install import files as installation
from podwire.node.old_settings import Settings
from podwire.node.old_source import Source
from podwire.node.reconciler import Mender
from podwire.observe.health import Health
from podwire.observe.log import AgentLog
from podwire.observe.status import StatusService
from podwire.plugin.config import parse_configuration
from podwire.plugin.context import PluginState
from podwire.plugin.network import Networks, PodNetwork, pod_network

M_ARENA_MAX = -8


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

    Where these may come late, `conf_dir` has the configuration that an agent before this one wrote: its network is
    looked after from the start. `web` is the address and port for metrics and health. Raises SocketInUseError,
    SettingsFileError, KernelRefusedError, NftablesError, WebError, OSError.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    check_unused(path)
    _use_one_heap()
    log, state = log or AgentLog(), PluginState(reconciled=True)
    log.start()
    threading.excepthook = partial(_thread_died, log)
    try:
        runtime = RuntimeConfiguration(state.networks, log)
        if conf_dir:
            runtime.recall(conf_dir)
        mender = Mender(state, log, source, runtime)
        health = Health(path, mender, runtime, source)
        record = _serve_web(web, health, log, mender, source, state.networks) if web else None
        mender.begin()
        listener = listen(path)
        inode = path.stat().st_ino
        try:
            Server(listener, state, log, StatusService(health, log, mender, source).answer, record).start()
            log.note(f"serving {path}")
            health.serving = True
            runtime.ready()
            mender.start()
            ended.wait()
        finally:
            # Only our own socket: a successor may have put its own there already.
            if path.exists() and path.stat().st_ino == inode:
                path.unlink()
        log.note("ended; pods stay as they are")
    finally:
        log.close()


def _thread_died(log: AgentLog, died: threading.ExceptHookArgs) -> None:
    """One line instead of a traceback; `/healthz` says what it means."""
    name = died.thread.name if died.thread else "?"
    log.failed("node", f"thread {name} ended ({died.exc_type.__name__}: {died.exc_value}): please report it")


def _use_one_heap() -> None:
    """Let all threads share glibc's first heap (mallopt(3)): others never shrink (seen: 20 MiB)."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _serve_web(
    web: tuple[str, int], health: Health, log: AgentLog, mender: Mender, source: Source | None, networks: Networks
) -> Record:
    """Serve metrics and health; what records a call. Imported only where it is wanted: it is 8 MiB. Raises WebError."""
    from podwire.observe.http import serve  # noqa: PLC0415
    from podwire.observe.metrics import Metrics  # noqa: PLC0415

    metrics = Metrics(log, mender, source, networks)
    try:
        where = serve(web, metrics.page, health)
    except OSError as refused:
        raise WebError(f"{refused.strerror}: choose another address or port") from None
    log.note(f"metrics and health at {where}")
    return metrics.record


class RuntimeConfiguration:
    """The container runtime's network configuration: written when, and only when, calls can be served.

    It stays when the agent ends: without it, runtimes cannot even remove a pod.
    """

    def __init__(self, networks: Networks, log: AgentLog) -> None:
        self._networks = networks
        self._log = log
        self._ready = False
        self.trouble = ""
        self._wanted: tuple[Path, bytes] | None = None
        self._network: PodNetwork | None = None

    def announce(self, settings: Settings, mtu: int) -> None:
        """New settings: their network is looked after from now on; the runtime's configuration is for `publish`."""
        text = installation.configuration(
            settings.cni.network,
            settings.mode,
            ",".join(str(one) for one in settings.pod_ranges),
            ",".join(str(one) for one in settings.cluster),
            mtu=mtu,
            masquerade=settings.masquerade,
            exceptions=[str(one) for one in settings.exceptions],
        )
        self._remember(text)
        self._wanted = (Path(settings.cni.conf_dir), text) if settings.cni.write else None

    def publish(self) -> None:
        """What pods need is in place: write the runtime's configuration, if calls are served already."""
        self._write()

    def recall(self, folder: Path) -> None:
        """The network of the configuration that was written before, if there is one: looked after at once."""
        path = folder / installation.CONFIGURATION
        try:
            self._remember(path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, CniError, msgspec.DecodeError, LookupError, TypeError) as wrong:
            self._log.failed("node", f"{path}: {wrong}: left alone until the settings are known")

    def _remember(self, text: bytes) -> None:
        whole = msgspec.json.decode(text)
        config = parse_configuration(installation.alone(whole["name"], whole["plugins"][0]))
        network = pod_network(config)
        self._networks.remember(network, instead_of=self._network)
        self._network = network

    def ready(self) -> None:
        """Calls are served from now on."""
        self._ready = True
        self._write()

    def _write(self) -> None:
        if not self._ready or self._wanted is None:
            return
        folder, text = self._wanted
        path = folder / installation.CONFIGURATION
        self.trouble = ""
        try:
            if path.exists() and path.read_bytes() == text:
                return
            folder.mkdir(parents=True, exist_ok=True)
            installation.write_whole(path, text, 0o644)
            self._log.note(f"{path}: written")
        except OSError as refused:
            self.trouble = f"{path}: {refused.strerror}: pods cannot be started until it can be written"
            self._log.failed("node", self.trouble, once=True)
