# SPDX-License-Identifier: Apache-2.0
"""Keeps IP forwarding on, for the families of the networks' gateways."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire import sysctl
from podwire.datapath.gateway import FORWARDING
from podwire.netlink.constants import RTM_NEWNETCONF
from podwire.node.reconciler import TICK, Change, Reconciler


class Sysctls(Reconciler):
    """net.ipv4.ip_forward and net.ipv6.conf.all.forwarding."""

    name = "sysctls"
    needed_by_pods = follows_settings = True
    events = (RTM_NEWNETCONF, TICK)

    def differences(self, *, full: bool) -> Sequence[Change]:
        """Settings that are not 1. A kernel without IPv6 has none for it."""
        families = {family for network in self._desired.networks.all() for family in network.gateway.families}
        return [
            Change("sysctl", f"sysctl -w {path}=1", partial(sysctl.write, path, "1"))
            for path in (FORWARDING[family] for family in sorted(families))
            if sysctl.read(path) not in ("1", None)
        ]
