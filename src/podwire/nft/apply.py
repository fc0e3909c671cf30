# SPDX-License-Identifier: Apache-2.0
"""Keeps a network's masquerade table and accept rules in the host's ruleset; reads it only after it changed."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Sequence

from podwire.cni.document import JsonObject
from podwire.ip import Network
from podwire.netlink.socket import Netlink
from podwire.nft import forward, ruleset
from podwire.nft.library import Nftables, NftablesError, generation
from podwire.nft.masquerade import Masquerade, is_in_place, masquerade_text


class Firewall:
    """The nftables ruleset of the network namespace in which `ensure` is called. Any thread may call it.

    Its only state is a cache: at which generation of the ruleset the rules of a network were in place.
    """

    def __init__(self) -> None:
        self._library: Nftables | None = None
        self._lock = allocate_lock()
        self._in_place: dict[tuple[str, Masquerade | None, tuple[Network, ...]], int] = {}

    def ensure(
        self, socket: Netlink, network: str, masquerade: Masquerade | None, ranges: Sequence[Network]
    ) -> list[str]:
        """Put a network's rules in place; one line for each change. Raises NftablesError, NetlinkError.

        Chains of other programs must accept packets of `ranges`. `socket` is the calling thread's netfilter socket.
        """
        with self._lock:
            changes = self._differences(socket, network, masquerade, ranges)
            for _, text in changes:
                self._nftables().run(text)
        return [line for line, _ in changes]

    def missing(
        self, socket: Netlink, network: str, masquerade: Masquerade | None, ranges: Sequence[Network]
    ) -> list[str]:
        """What `ensure` would write, one line for each change. Raises NftablesError, NetlinkError."""
        return [line for line, _ in self._differences(socket, network, masquerade, ranges)]

    def _differences(
        self, socket: Netlink, network: str, masquerade: Masquerade | None, ranges: Sequence[Network]
    ) -> list[tuple[str, str]]:
        """What is missing: a line for the log, and the nft(8) commands. Reads only if the ruleset has changed."""
        rules = network, masquerade, tuple(ranges)
        current = generation(socket)
        if self._in_place.get(rules) == current:
            return []
        chains = ruleset.chains(socket)
        changes = _masquerade_differences(socket, masquerade, chains) if masquerade else []
        changes += _accept_differences(socket, network, ranges, chains)
        # Another program may have changed the ruleset after `current`: only a look that finds nothing counts.
        if not changes:
            self._in_place[rules] = current
        return changes

    def listing(self, what: str) -> list[JsonObject]:
        """The objects that `nft -j list <what>` shows; none where it does not exist."""
        try:
            return self._nftables().list(what)
        except NftablesError:
            return []

    def run(self, commands: str) -> None:
        """Run nft(8) commands in one transaction. Raises NftablesError."""
        with self._lock:
            self._nftables().run(commands)

    def _nftables(self) -> Nftables:
        if self._library is None:
            self._library = Nftables()
        return self._library


def _masquerade_differences(
    socket: Netlink, desired: Masquerade, chains: Sequence[JsonObject]
) -> list[tuple[str, str]]:
    table = ("inet", desired.table)
    own = [entry for entry in chains if (entry["chain"]["family"], entry["chain"]["table"]) == table]
    if own and is_in_place(desired, [*own, *ruleset.rules(socket, *table)]):
        return []
    return [(f"nft table inet {desired.table}: written", masquerade_text(desired))]


def _accept_differences(
    socket: Netlink, network: str, ranges: Sequence[Network], chains: Sequence[JsonObject]
) -> list[tuple[str, str]]:
    changes = []
    for chain in forward.dropping_chains(chains):
        desired = forward.accept_rules(chain, network, ranges)
        existing = forward.existing_accept_rules(chain, network, ruleset.rules(socket, chain.family, chain.table))
        if len(existing) < len(desired):
            deletions = [f"delete rule {chain.place} handle {rule['handle']}" for rule in existing]
            line = f"nft chain {chain.place}: accept rules of {network} written"
            changes.append((line, "\n".join([*deletions, *desired])))
    return changes
