"""Keeps the host's firewall as `node/firewall.py` wants it; looks again only when somebody changed a rule."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Sequence

from podwire.cni.document import JsonObject
from podwire.ip import Network
from podwire.netlink.socket import Netlink
from podwire.nft import forward, ruleset
from podwire.nft import masquerade as want
from podwire.nft.library import Nftables, NftablesError, generation


class Firewall:
    """The nftables ruleset of one network namespace: the one in which `ensure` is called. Any thread may.

    It is a cache of one thing: at which generation of the ruleset all was in place.
    """

    def __init__(self) -> None:
        self._nftables: Nftables | None = None
        self._lock = allocate_lock()
        self._seen: dict[tuple[str, want.Masquerade | None, tuple[Network, ...]], int] = {}

    def ensure(
        self, socket: Netlink, network: str, masquerade: want.Masquerade | None, ranges: Sequence[Network]
    ) -> list[str]:
        """Put a network's rules in place; what was mended, one line each. Raises NftablesError, NetlinkError.

        `socket` is the calling thread's netfilter socket.
        """
        key = (network, masquerade, tuple(ranges))
        now = generation(socket)
        if self._seen.get(key) == now:
            return []
        with self._lock:
            chains = ruleset.chains(socket)
            mended = self._ensure_masquerade(socket, masquerade, chains) if masquerade else []
            mended += self._ensure_accepted(socket, network, ranges, chains)
            # Ours may not be the only change since `now`: only an undisturbed look counts as seen.
            if not mended:
                self._seen[key] = now
            return mended

    def _ensure_masquerade(self, socket: Netlink, wanted: want.Masquerade, chains: Sequence[JsonObject]) -> list[str]:
        own = [one for one in chains if (one["chain"]["family"], one["chain"]["table"]) == ("inet", wanted.table)]
        if own and want.is_in_place(wanted, [*own, *ruleset.rules(socket, "inet", wanted.table)]):
            return []
        self._write(want.masquerade_text(wanted))
        return [f"nft table inet {wanted.table}: written"]

    def _ensure_accepted(
        self, socket: Netlink, network: str, ranges: Sequence[Network], chains: Sequence[JsonObject]
    ) -> list[str]:
        mended = []
        for chain in forward.dropping_chains(chains):
            rules = forward.accept_rules(chain, network, ranges)
            there = forward.accepted(chain, network, ruleset.rules(socket, chain.family, chain.table))
            if len(there) >= len(rules):
                continue
            deletions = [f"delete rule {chain.place} handle {rule['handle']}" for rule in there]
            self._write("\n".join([*deletions, *rules]))
            mended.append(f"nft chain {chain.place}: opened for {network}")
        return mended

    def listing(self, what: str) -> list[dict[str, object]]:
        """What `nft -j list <what>` shows; nothing where it does not exist."""
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
