"""Keeps the nftables tables that masquerade what pods send out of the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.node.desired import DesiredState
from podwire.node.reconciler import NFTABLES_CHANGED, Change, Event, Reconciler
from podwire.node.settings import SettingsChange
from podwire.plugin.network import PodNetwork


class MasqueradeTables(Reconciler):
    """A table for each network that masquerades."""

    name = "masquerade"
    needed_by_pods = True

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    def concerned_by(self, event: Event) -> bool:
        """A changed ruleset."""
        return event.kind == NFTABLES_CHANGED

    def desired_changed(self, change: SettingsChange) -> bool:
        """The settings say what is masqueraded."""
        return change.settings is not None

    def differences(self, *, full: bool) -> Sequence[Change]:
        """Tables that are missing or different; where the ruleset has not changed, nothing is read."""
        host = self._desired.host
        firewall = self._desired.firewall
        return [
            Change("nft", line, partial(self._apply, network))
            for network in self._desired.networks.all()
            if network.masquerade
            for line in firewall.missing(host.netfilter, network.config.name, network.masquerade, ())
        ]

    def _apply(self, network: PodNetwork) -> Sequence[str]:
        """What an ADD has written in the meantime is not written twice."""
        host = self._desired.host
        return self._desired.firewall.ensure(host.netfilter, network.config.name, network.masquerade, ())
