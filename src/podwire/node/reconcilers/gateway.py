"""Keeps the gateway device of each network (bridge or podwire0): there, up, with the gateways' addresses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.datapath.gateway import missing_operations
from podwire.netlink.apply import apply_each
from podwire.netlink.constants import RTM_DELADDR, RTM_DELLINK
from podwire.netlink.operations import describe
from podwire.node.desired import DesiredState
from podwire.node.reconciler import TICK, Change, Event, Reconciler, kind_of
from podwire.node.settings import SettingsChange


class GatewayDevices(Reconciler):
    """The gateway devices. Each second as well: that a device went down is not announced."""

    name = "gateway"
    needed_by_pods = True

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    def concerned_by(self, event: Event) -> bool:
        """A deleted gateway device, any deleted address, the clock."""
        if event.kind == RTM_DELLINK:
            return event.key in {network.gateway.device.encode() for network in self._desired.networks.all()}
        return event.kind in (RTM_DELADDR, TICK)

    def desired_changed(self, change: SettingsChange) -> bool:
        """The settings say which network there is."""
        return change.settings is not None

    def differences(self, *, full: bool) -> Sequence[Change]:
        """What is missing of each device."""
        host = self._desired.host
        return [
            Change(kind_of(operation), describe(operation), partial(self._apply, operation))
            for network in self._desired.networks.all()
            for operation in missing_operations(host.socket, network.gateway)
        ]

    def _apply(self, operation: object) -> None:
        """An ADD may be making the same device now: what exists already is no error."""
        apply_each(self._desired.host.socket, [operation])  # type: ignore[list-item]
