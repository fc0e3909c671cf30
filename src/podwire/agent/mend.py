"""Keeps the host as it should be: the networks of its pods, the paths to other nodes, the settings of a file.

One thread, woken by the kernel's notifications, by the file, and once a second for what nobody announces
(sysctls, devices that went down). Everything is read back and compared; what differs is mended and logged.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from podwire.agent.log import CallLog
from podwire.agent.paths import NodePaths
from podwire.agent.settings_file import SettingsFileError, load
from podwire.kernel.apply import KernelRefusedError
from podwire.kernel.encode import RTM_DELADDR, RTM_DELLINK
from podwire.kernel.host import Host, Shared
from podwire.kernel.nftables import NftablesError
from podwire.kernel.watch import RTM_NEWNETCONF, FileWatch, TouchedError, Watch
from podwire.node.paths import pod_mtu
from podwire.node.settings import Peer, RawPeer, Settings
from podwire.verbs.network import Networks, ensure

TICK_SECONDS = 1.0
WHOLE_LOOK_SECONDS = 60.0
SETTLE_SECONDS = 0.005
"""Notifications come in bursts, one burst for every pod; they are looked at together."""

Announce = Callable[[Settings, int], None]
"""Called with new settings and the pods' MTU, for the container runtime's configuration."""


class Mender:
    """Looks after the networks of pods and, with a settings file, after the paths to other nodes."""

    def __init__(
        self,
        shared: Shared,
        networks: Networks,
        log: CallLog,
        file: Path | None = None,
        announce: Announce | None = None,
    ) -> None:
        self._networks = networks
        self._log = log
        self._file = file
        self._announce = announce
        self._host = Host(shared)
        self._watch = Watch()
        self._files = FileWatch(str(file.parent)) if file else None
        self._known: dict[RawPeer, Peer] = {}
        self._stamp: object = None
        self._last_look = 0.0
        self._last_tick = 0.0
        self.paths = NodePaths(self._host, log)

    def begin(self) -> None:
        """Bring about what the file wants, before the first call is served.

        Raises SettingsFileError, KernelRefusedError, NftablesError, OSError.
        """
        if self._file is None:
            return
        begun = time.perf_counter()
        self._stamp = _stamp(self._file)
        settings, self._known = load(self._file)
        self._take(settings)
        self.paths.look()
        took = (time.perf_counter() - begun) * 1000
        self._log.note(f"node {settings.name}: peers={len(settings.peers)} ms={took:.1f}")

    def start(self) -> None:
        """Go on in a thread of its own."""
        threading.Thread(target=self._run, daemon=True, name="mender").start()

    def _run(self) -> None:
        sources = [self._watch.route.socket.fileno(), self._watch.nftables.socket.fileno()]
        sources += [self._files.descriptor] if self._files else []
        while True:
            select.select(sources, [], [], TICK_SECONDS)
            time.sleep(SETTLE_SECONDS)
            try:
                self._once()
            except (KernelRefusedError, NftablesError, OSError) as refused:
                self._log.once(f"cannot mend: {refused}")
                time.sleep(TICK_SECONDS)

    def _once(self) -> None:
        if self._files:
            self._files.drain()
            self._reload()
        networks, paths = self._touched()
        now = time.monotonic()
        if networks or now - self._last_tick > TICK_SECONDS:
            self._last_tick = now
            paths = self._look_after_networks() or paths  # an address that was gone took routes with it
            paths = paths or self.paths.device_is_down()
        if paths or now - self._last_look > WHOLE_LOOK_SECONDS:
            self._last_look = now
            self.paths.look()

    def _touched(self) -> tuple[bool, bool]:
        """Did anybody touch something that the networks of pods need, and that the paths to nodes need?"""
        networks, paths = self._watch.nftables_changed(), False
        devices = {one.part.device.encode() for one in self._networks.all()}
        try:
            for kind, key in self._watch.route_events():
                networks |= kind in (RTM_DELADDR, RTM_NEWNETCONF) or (kind == RTM_DELLINK and key in devices)
                paths = paths or (self.paths.settings is not None and self.paths.concerns(kind, key))
        except TouchedError:
            return True, True
        return networks, paths

    def _look_after_networks(self) -> bool:
        """Bring the host's part of every network about; was anything missing?"""
        done = []
        for network in self._networks.all():
            done += ensure(self._host, network)[1]
        for words in done:
            self._log.note(f"mended: {words}")
        return bool(done)

    def _reload(self) -> None:
        if self._file is None or (stamp := _stamp(self._file)) == self._stamp:
            return
        self._stamp = stamp
        begun = time.perf_counter()
        try:
            settings, self._known = load(self._file, self._known)
        except SettingsFileError as wrong:
            self._log.note(f"{wrong}; the running network stays as it is")
            return
        done = self._take(settings)
        took = (time.perf_counter() - begun) * 1000
        self._log.note(f"{self._file} was read again: peers={len(settings.peers)} changes={done} ms={took:.1f}")

    def _take(self, settings: Settings) -> int:
        """The networks first: paths may start from their gateways."""
        self.paths.read_underlays()
        if self._announce:
            self._announce(settings, pod_mtu(settings, self.paths.underlays))
        for network in self._networks.all():
            ensure(self._host, network)
        return self.paths.take(settings)


def _stamp(path: Path) -> object:
    """What changes when a file is written or replaced; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
