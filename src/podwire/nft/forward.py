# SPDX-License-Identifier: Apache-2.0
"""Accept rules in forward chains of other programs whose policy is drop, as Docker's is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.cni.document import JsonObject
from podwire.ip import Network
from podwire.nft.names import KEYWORD, TABLE_PREFIX, accept_comment, collapsed, is_identifier
from podwire.record import Record


class Chain(Record):
    """A base chain of another program that drops forwarded packets by default."""

    family: str
    table: str
    name: str

    @property
    def place(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def dropping_chains(chains: Sequence[JsonObject]) -> list[Chain]:
    """Base chains of other programs on the forward hook with policy drop, in a listing (`nft -j list chains`)."""
    found = []
    for chain in (entry["chain"] for entry in chains if "chain" in entry):
        foreign = not chain["table"].startswith(TABLE_PREFIX)
        drops = (chain.get("hook"), chain.get("policy")) == ("forward", "drop")
        named = is_identifier(chain["table"]) and is_identifier(chain["name"])
        if foreign and drops and named and chain["family"] in ("ip", "ip6", "inet"):
            found.append(Chain(chain["family"], chain["table"], chain["name"]))
    return found


def accept_rules(chain: Chain, network: str, ranges: Iterable[Network]) -> list[str]:
    """Commands that insert rules at the chain's head: packets from and to the ranges are accepted.

    An accept rule in a table of podwire would not help: a drop in any other base chain of the hook is final.
    nft insert rule ip filter FORWARD ip saddr 10.244.0.0/16 counter accept comment "podwire mynet"
    """
    rules = []
    for address_range in collapsed(ranges):
        keyword = KEYWORD[address_range.version]
        if chain.family in (keyword, "inet"):
            for field in ("saddr", "daddr"):
                match = f"{keyword} {field} {address_range}"
                rules.append(f'insert rule {chain.place} {match} counter accept comment "{accept_comment(network)}"')
    return rules


def existing_accept_rules(chain: Chain, network: str, rules: Iterable[JsonObject]) -> list[JsonObject]:
    """A network's accept rules in a chain, among all rules of the chain's table."""
    wanted = chain.name, accept_comment(network)
    return [entry["rule"] for entry in rules if (entry["rule"]["chain"], entry["rule"]["comment"]) == wanted]
