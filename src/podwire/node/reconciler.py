"""Keeps the host as it should be: the networks of its pods, and the paths to other nodes that the settings ask for.

One thread, woken by the kernel's notifications, by new settings, and once a second for what nobody announces
(sysctls, devices that went down). Everything is read back and compared; what differs is mended and logged.
"""

from __future__ import annotations

import select
import threading
import time
from typing import Protocol

from podwire.datapath.peer_routes import pod_mtu
from podwire.install.files import InstallationError
from podwire.netlink.apply import KernelRefusedError
from podwire.netlink.constants import RTM_DELADDR, RTM_DELLINK, RTM_NEWNETCONF
from podwire.netlink.host import Host
from podwire.netlink.monitor import NotificationsLostError, Watch
from podwire.nft.library import NftablesError
from podwire.node.old_settings import Settings, same_but_peers
from podwire.node.old_source import Source
from podwire.node.orphans import Orphans
from podwire.node.peers import NodePaths
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from podwire.plugin.network import ensure

TICK_SECONDS = 1.0
STUCK_SECONDS = 60.0
"""Longer than any round of its work: five thousand peers come in some seconds."""

WHOLE_LOOK_SECONDS = 60.0
SETTLE_SECONDS = 0.005
"""Notifications come in bursts, one burst for every pod; they are looked at together."""


class Runtime(Protocol):
    """The container runtime's configuration."""

    def announce(self, settings: Settings, mtu: int) -> None:
        """New settings, and the pods' MTU: their network is to be looked after. Raises InstallationError."""

    def publish(self) -> None:
        """All that pods of these settings need is in place."""


class Mender:
    """Looks after the networks of pods and, with a source of settings, after the paths to other nodes.

    `in_place`: a network of pods has been brought about. `trouble`: why the last round failed, "" if it did not.
    """

    def __init__(
        self,
        state: PluginState,
        log: AgentLog,
        source: Source | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self._state = state
        self._networks = state.networks
        self._log = log
        self._source = source
        self._pending: Settings | None = None
        self._runtime = runtime
        self._host = Host(state.namespace)
        self._watch = Watch()
        self._last_look = 0.0
        self._last_tick = 0.0
        self._thread: threading.Thread | None = None
        self._beat = 0.0
        self._leftovers = Orphans(self._host, state, log)
        self.trouble = ""
        self.in_place = False
        self.paths = NodePaths(self._host, log)

    def begin(self) -> None:
        """Bring about what the settings want, if they are known, before the first call is served.

        Raises SettingsFileError, KernelRefusedError, NftablesError, OSError.
        """
        settings = self._source.first() if self._source else None
        if settings is not None:
            self._take(settings)
            self.paths.look()
            return
        self._look_after_networks()
        self._last_tick = time.monotonic()
        if self._source:
            self._round()  # what it has said meanwhile

    def start(self) -> None:
        """Go on in a thread of its own."""
        self._beat = time.monotonic()
        thread = threading.Thread(target=self._run, daemon=True, name="mender")
        thread.start()
        self._thread = thread  # only now: one that has not begun looks as if it were dead

    def liveness_error(self) -> str:
        """Why nothing is mended any more; "" while it works. What the kernel refuses is `trouble` alone."""
        if self._thread is not None and not self._thread.is_alive():
            return "the mender's thread has died"
        if self._thread is not None and (silent := time.monotonic() - self._beat) > STUCK_SECONDS:
            return f"the mender has been at one thing for {silent:.0f} s"
        return ""

    def _run(self) -> None:
        sources = [self._watch.route.socket.fileno(), self._watch.nftables.socket.fileno()]
        sources += [self._source.descriptor] if self._source else []
        while True:
            self._beat = time.monotonic()
            select.select(sources, [], [], TICK_SECONDS)
            time.sleep(SETTLE_SECONDS)
            self._round()
            if self.trouble:
                time.sleep(TICK_SECONDS)

    def _round(self) -> None:
        """One look at all that may have changed; what the kernel refuses is for the next one."""
        try:
            self._once()
            self.trouble = ""
        except (KernelRefusedError, NftablesError, InstallationError, OSError) as refused:
            self.trouble = f"cannot mend: {refused}"
            self._log.failed("node", self.trouble, once=True)

    def _once(self) -> None:
        if self._source:
            self._pending = self._source.news() or self._pending
        if self._pending is not None:
            first = self.paths.settings is None
            self._take(self._pending)
            self._pending = None
            if first:
                self.paths.look()  # what an agent before this one left behind
        networks, paths = self._touched()
        now = time.monotonic()
        if networks or now - self._last_tick > TICK_SECONDS:
            self._last_tick = now
            paths = self._look_after_networks() or paths  # an address that was gone took routes with it
            paths = paths or self.paths.device_is_down()
        if paths or now - self._last_look > WHOLE_LOOK_SECONDS:
            self._last_look = now
            self._leftovers.look_everywhere()
            self.paths.look()
            if self._runtime:
                self._runtime.publish()  # somebody may have removed it, or there was no room for it
        self._leftovers.look()

    def _touched(self) -> tuple[bool, bool]:
        """Did anybody touch something that the networks of pods need, and that the paths to nodes need?"""
        networks, paths = self._watch.nftables_changed(), False
        if networks:
            self._leftovers.firewall_changed()
        devices = {one.gateway.device.encode() for one in self._networks.all()}
        try:
            for kind, key in self._watch.route_events():
                if kind == RTM_DELLINK:
                    self._leftovers.departed(key)
                networks |= kind in (RTM_DELADDR, RTM_NEWNETCONF) or (kind == RTM_DELLINK and key in devices)
                paths = paths or (self.paths.settings is not None and self.paths.concerns(kind, key))
        except NotificationsLostError:
            self._leftovers.look_everywhere()
            return True, True
        return networks, paths

    def _look_after_networks(self) -> bool:
        """Bring the host's part of every network about; was anything missing?"""
        done = []
        for network in self._networks.all():
            done += ensure(self._host, self._state.firewall, network)[1]
            self.in_place = True
        for words in done:
            self._log.restored(words)
        return bool(done)

    def _take(self, settings: Settings) -> None:
        """The networks first: paths may start from their gateways. Where only peers changed, these stay as they are."""
        begun = time.perf_counter()
        if self.paths.settings is None or not same_but_peers(self.paths.settings, settings):
            self.paths.read_underlays()
            if self._runtime:
                self._runtime.announce(settings, pod_mtu(settings, self.paths.underlays))
            for network in self._networks.all():
                ensure(self._host, self._state.firewall, network)
            self.in_place = True
        changes = self.paths.take(settings)
        if self._runtime:
            self._runtime.publish()
        if self._source:
            self._source.applied(settings, changes, time.perf_counter() - begun, self.paths.wanted.problems)
