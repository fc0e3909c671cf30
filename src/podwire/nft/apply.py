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
    """The nftables ruleset of one network namespace: the one in which `ensure` is called. Any thread may call it.

    Its only state is a cache: at which generation of the ruleset the rules of a network were in place.
    """

    def __init__(self) -> None:
        self._nftables: Nftables | None = None
        self._lock = allocate_lock()
        self._in_place: dict[tuple[str, Masquerade | None, tuple[Network, ...]], int] = {}

    def ensure(
        self, socket: Netlink, network: str, masquerade: Masquerade | None, ranges: Sequence[Network]
    ) -> list[str]:
        """Put a network's rules in place; one line for each change. Raises NftablesError, NetlinkError.

        `ranges` are the networks whose packets other programs' chains have to accept. `socket` is the calling
        thread's netfilter socket.
        """
        key = (network, masquerade, tuple(ranges))
        current = generation(socket)
        if self._in_place.get(key) == current:
            return []
        with self._lock:
            chains = ruleset.chains(socket)
            changes = self._ensure_masquerade(socket, masquerade, chains) if masquerade else []
            changes += self._ensure_accepted(socket, network, ranges, chains)
            # Another program may have changed the ruleset after `current`: only a look that changed nothing counts.
            if not changes:
                self._in_place[key] = current
            return changes

    def _ensure_masquerade(self, socket: Netlink, desired: Masquerade, chains: Sequence[JsonObject]) -> list[str]:
        table = ("inet", desired.table)
        own = [entry for entry in chains if (entry["chain"]["family"], entry["chain"]["table"]) == table]
        if own and is_in_place(desired, [*own, *ruleset.rules(socket, *table)]):
            return []
        self._write(masquerade_text(desired))
        return [f"nft table inet {desired.table}: written"]

    def _ensure_accepted(
        self, socket: Netlink, network: str, ranges: Sequence[Network], chains: Sequence[JsonObject]
    ) -> list[str]:
        changes = []
        for chain in forward.dropping_chains(chains):
            desired = forward.accept_rules(chain, network, ranges)
            listing = ruleset.rules(socket, chain.family, chain.table)
            existing = forward.existing_accept_rules(chain, network, listing)
            if len(existing) >= len(desired):
                continue
            deletions = [f"delete rule {chain.place} handle {rule['handle']}" for rule in existing]
            self._write("\n".join([*deletions, *desired]))
            changes.append(f"nft chain {chain.place}: accept rules of {network} written")
        return changes

    def listing(self, what: str) -> list[JsonObject]:
        """The objects that `nft -j list <what>` shows; none where it does not exist."""
        try:
            if self._nftables is None:
                self._nftables = Nftables()
            return self._nftables.list(what)
        except NftablesError:
            return []

    def run(self, commands: str) -> None:
        """Run nft(8) commands in one transaction. Raises NftablesError."""
        with self._lock:
            self._write(commands)

    def _write(self, commands: str) -> None:
        if self._nftables is None:
            self._nftables = Nftables()
        self._nftables.run(commands)
