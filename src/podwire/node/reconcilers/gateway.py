# SPDX-License-Identifier: Apache-2.0
"""Keeps the gateway device of each network (bridge or podwire0): there, up, with the gateways' addresses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.datapath.gateway import missing_operations
from podwire.netlink.apply import apply_each
from podwire.netlink.constants import RTM_DELADDR, RTM_DELLINK
from podwire.node.reconciler import TICK, Change, Event, Reconciler, change_of


class GatewayDevices(Reconciler):
    """The gateway devices. Each second as well: that a device went down is not announced."""

    name = "gateway"
    needed_by_pods = follows_settings = True

    def concerned_by(self, event: Event) -> bool:
        """A deleted gateway device, any deleted address, the clock."""
        if event.kind == RTM_DELLINK:
            return event.key in {network.gateway.device.encode() for network in self._desired.networks.all()}
        return event.kind in (RTM_DELADDR, TICK)

    def differences(self, *, full: bool) -> Sequence[Change]:
        """What is missing of each device. An ADD may be making it now: what exists already is no error."""
        socket = self._desired.host.socket
        return [
            change_of(operation, partial(apply_each, socket, [operation]))
            for network in self._desired.networks.all()
            for operation in missing_operations(socket, network.gateway)
        ]
