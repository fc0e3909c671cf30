# SPDX-License-Identifier: Apache-2.0
"""Keeps each network's nftables rules; where the ruleset has not changed, nothing is read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.ip import Network
from podwire.nft.masquerade import Masquerade
from podwire.node.reconciler import NFTABLES_CHANGED, Change, Reconciler
from podwire.plugin.network import PodNetwork


class _Rules(Reconciler):
    needed_by_pods = follows_settings = True
    events = (NFTABLES_CHANGED,)

    def _rules(self, network: PodNetwork) -> tuple[Masquerade | None, Sequence[Network]]:
        """What this reconciler keeps: the rules that masquerade, the networks whose packets are accepted."""
        raise NotImplementedError

    def differences(self, *, full: bool) -> Sequence[Change]:
        """One change for each network without all its rules; a call writes all of them and returns a line for each."""
        socket, changes = self._desired.host.netfilter, []
        for network in self._desired.networks.all():
            if lines := self._desired.firewall.missing(socket, network.config.name, *self._rules(network)):
                changes.append(Change("nft", lines[0], partial(self._apply, network)))
        return changes

    def _apply(self, network: PodNetwork) -> Sequence[str]:
        """What an ADD has written in the meantime is not written twice."""
        return self._desired.firewall.ensure(self._desired.host.netfilter, network.config.name, *self._rules(network))


class MasqueradeTables(_Rules):
    """The table that masquerades what the pods of a network send out of the cluster."""

    name = "masquerade"

    def _rules(self, network: PodNetwork) -> tuple[Masquerade | None, Sequence[Network]]:
        return network.masquerade, ()


class ForwardAccept(_Rules):
    """The accept rules in other programs' chains that drop forwarded packets, such as Docker's."""

    name = "forward"

    def _rules(self, network: PodNetwork) -> tuple[Masquerade | None, Sequence[Network]]:
        return None, network.forwarded
