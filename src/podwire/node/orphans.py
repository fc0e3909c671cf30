"""What a pod that ended without DEL leaves behind its veth: an egress device, host ports. The mender removes it."""

from __future__ import annotations

from podwire.attachments.identity import DEVICE_LETTERS, PREFIX, egress_device
from podwire.bandwidth import egress
from podwire.netlink.host import Host
from podwire.nft.library import table_exists
from podwire.nft.names import PORTS_TABLE
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from podwire.plugin.gc import delete_orphans


class Orphans:
    """Collects what record_event and looks where it may matter; the first look is at everything."""

    def __init__(self, host: Host, state: PluginState, log: AgentLog) -> None:
        self._host = host
        self._state = state
        self._log = log
        self._everything = True
        self._firewall = False
        self._holders: frozenset[str] = frozenset()
        self._departed: set[str] = set()

    def departed(self, key: bytes) -> None:
        """A device of that name is gone."""
        if len(key) == DEVICE_LETTERS and key.startswith(PREFIX.encode()):
            self._departed.add(key.decode(errors="replace"))

    def firewall_changed(self) -> None:
        """Somebody changed nftables: perhaps host ports are gone."""
        self._firewall = True

    def look_everywhere(self) -> None:
        """Something may have been missed."""
        self._everything = True

    def look(self) -> None:
        """Remove leftovers and restore host ports. Raises NftablesError, OSError; then it is owed still."""
        if not (self._everything or self._firewall or self._departed):
            return
        ports = self._firewall and (bool(self._holders) or table_exists(self._host.netfilter, PORTS_TABLE))
        if self._everything or ports or self._departed & self._holders:
            done, self._holders = delete_orphans(self._host, self._state.firewall)
            for words in done:
                self._log.restored(words)
        else:
            for name in [one for one in self._departed if not egress.exists(self._host.socket, one)]:
                if egress.delete_of(self._host, name):
                    self._log.restored(f"ip link delete {egress_device(name)}")
        self._everything = self._firewall = False
        self._departed.clear()
