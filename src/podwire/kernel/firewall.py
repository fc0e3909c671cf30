"""Keeps the host's firewall as `node/firewall.py` wants it; looks again only when somebody changed a rule."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from podwire.kernel.netlink import Netlink
from podwire.kernel.nftables import Nftables, NftablesError, generation
from podwire.node import firewall as want
from podwire.plan.operations import Network


class Firewall:
    """The nftables ruleset of one network namespace: the one in which `ensure` is called. Any thread may.

    It is a cache of one thing: at which generation of the ruleset all was in place.
    """

    def __init__(self) -> None:
        self._nftables: Nftables | None = None
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, want.Masquerade | None, tuple[Network, ...]], int] = {}

    def ensure(
        self, socket: Netlink, network: str, masquerade: want.Masquerade | None, ranges: Sequence[Network]
    ) -> list[str]:
        """Put a network's rules in place; what was mended, one line each. Raises NftablesError.

        `socket` is the calling thread's netfilter socket.
        """
        key = (network, masquerade, tuple(ranges))
        now = generation(socket)
        if self._seen.get(key) == now:
            return []
        with self._lock:
            if self._nftables is None:
                self._nftables = Nftables()
            mended = self._ensure_masquerade(masquerade) if masquerade else []
            mended += self._ensure_accepted(network, ranges)
            # Ours may not be the only change since `now`: only an undisturbed look counts as seen.
            if not mended:
                self._seen[key] = now
            return mended

    def _ensure_masquerade(self, wanted: want.Masquerade) -> list[str]:
        assert self._nftables is not None
        if want.is_in_place(wanted, self.listing(f"table inet {wanted.table}")):
            return []
        self._nftables.run(want.masquerade_text(wanted))
        return [f"nft table inet {wanted.table}: written"]

    def _ensure_accepted(self, network: str, ranges: Sequence[Network]) -> list[str]:
        assert self._nftables is not None
        mended = []
        for chain in want.dropping_chains(self._nftables.list("chains")):
            rules = want.accept_rules(chain, network, ranges)
            listing = self.listing(f"chain {chain.place}")
            if want.count_accepted(network, listing) >= len(rules):
                continue
            self._nftables.run("\n".join([*self._deletions(chain, network, listing), *rules]))
            mended.append(f"nft chain {chain.place}: opened for {network}")
        return mended

    @staticmethod
    def _deletions(chain: want.Chain, network: str, listing: Sequence[dict[str, object]]) -> list[str]:
        tag = want.accept_tag(network)
        found = [one["rule"] for one in listing if "rule" in one]
        return [
            f"delete rule {chain.place} handle {rule['handle']}"
            for rule in found
            if isinstance(rule, dict) and rule.get("comment") == tag
        ]

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
            if self._nftables is None:
                self._nftables = Nftables()
            self._nftables.run(commands)
