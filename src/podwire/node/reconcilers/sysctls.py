"""Keeps IP forwarding on, for the families of the networks' gateways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire import sysctl
from podwire.datapath.gateway import FORWARDING
from podwire.netlink.constants import RTM_NEWNETCONF
from podwire.node.desired import DesiredState
from podwire.node.reconciler import TICK, Change, Event, Reconciler
from podwire.node.settings import SettingsChange


class Sysctls(Reconciler):
    """net.ipv4.ip_forward and net.ipv6.conf.all.forwarding."""

    name = "sysctls"
    needed_by_pods = True

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    def concerned_by(self, event: Event) -> bool:
        """Changed forwarding, the clock."""
        return event.kind in (RTM_NEWNETCONF, TICK)

    def desired_changed(self, change: SettingsChange) -> bool:
        """The settings say which families there are."""
        return change.settings is not None

    def differences(self, *, full: bool) -> Sequence[Change]:
        """Settings that are not 1. A kernel without IPv6 has none for it."""
        families = {family for network in self._desired.networks.all() for family in network.gateway.families}
        return [
            Change("sysctl", f"sysctl -w {path}=1", partial(sysctl.write, path, "1"))
            for path in (FORWARDING[family] for family in sorted(families))
            if sysctl.read(path) not in ("1", None)
        ]
