# SPDX-License-Identifier: Apache-2.0
"""Keeps the nftables table of host ports and route_localnet, which follow from the altnames of the pods' devices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire import sysctl
from podwire.hostports import table
from podwire.netlink.constants import RTM_DELLINK
from podwire.nft.library import table_exists
from podwire.nft.names import PORTS_TABLE
from podwire.node.desired import DesiredState
from podwire.node.reconciler import NFTABLES_CHANGED, Change, Event, Reconciler


class HostPorts(Reconciler):
    """Elements for the host ports of existing pods, and no others."""

    name = "host-ports"

    def __init__(self, desired: DesiredState) -> None:
        super().__init__(desired)
        self._devices: frozenset[str] = frozenset()

    def concerned_by(self, event: Event) -> bool:
        """A changed ruleset, the deletion of a device that had host ports."""
        if event.kind == RTM_DELLINK:
            return event.key.decode(errors="replace") in self._devices
        return event.kind == NFTABLES_CHANGED

    def differences(self, *, full: bool) -> Sequence[Change]:
        """Elements that are missing or not desired. Without host ports and without a table, nothing is read."""
        host = self._desired.host
        if not (full or self._devices or table_exists(host.netfilter, PORTS_TABLE)):
            return ()
        missing = table.missing(host, self._desired.firewall)
        self._devices = missing.devices
        settings = missing.settings
        changes = [
            Change("sysctl", f"sysctl -w {path}={value}", partial(_set, path, value)) for path, value in settings
        ]
        if missing.changes:
            changes.append(Change("nft", f"nft {missing.changes[0]}", self._sync))
        return changes

    def _sync(self) -> Sequence[str]:
        """All in one transaction, as calls do it; what a call has written in the meantime is not written twice."""
        return [f"nft {line}" for line in table.sync(self._desired.host, self._desired.firewall)]


def _set(path: str, value: str) -> Sequence[str]:
    """Where settings cannot be written, as in some containers, host ports work by all addresses but 127.0.0.1."""
    try:
        sysctl.write(path, value)
    except OSError:
        return []
    return [f"sysctl -w {path}={value}"]
