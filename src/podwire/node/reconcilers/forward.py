"""Keeps the accept rules in other programs' chains that drop forwarded packets, such as Docker's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.node.desired import DesiredState
from podwire.node.reconciler import NFTABLES_CHANGED, Change, Event, Reconciler
from podwire.node.settings import SettingsChange
from podwire.plugin.network import PodNetwork


class ForwardAccept(Reconciler):
    """Accept rules for the packets of each network."""

    name = "forward"
    needed_by_pods = True

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    def concerned_by(self, event: Event) -> bool:
        """A changed ruleset."""
        return event.kind == NFTABLES_CHANGED

    def desired_changed(self, change: SettingsChange) -> bool:
        """The settings have the networks of forwarded packets."""
        return change.settings is not None

    def differences(self, *, full: bool) -> Sequence[Change]:
        """Chains without all rules; where the ruleset has not changed, nothing is read."""
        host = self._desired.host
        firewall = self._desired.firewall
        changes = []
        for network in self._desired.networks.all():
            if lines := firewall.missing(host.netfilter, network.config.name, None, network.forwarded):
                # One call writes the rules of all chains; it returns a line for each.
                changes.append(Change("nft", lines[0], partial(self._apply, network)))
        return changes

    def _apply(self, network: PodNetwork) -> Sequence[str]:
        host = self._desired.host
        return self._desired.firewall.ensure(host.netfilter, network.config.name, None, network.forwarded)
