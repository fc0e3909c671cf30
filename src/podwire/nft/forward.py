"""Accept rules in chains of other programs whose policy is to drop forwarded packets, as Docker's is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.cni.document import JsonObject
from podwire.ip import Network
from podwire.nft.names import PROTOCOL, TABLE_PREFIX, _sorted, accept_tag, is_identifier
from podwire.record import Record


class Chain(Record):
    """A base chain of somebody else that drops forwarded packets by default."""

    family: str
    table: str
    name: str

    @property
    def place(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def dropping_chains(chains: Sequence[JsonObject]) -> list[Chain]:
    """Foreign base chains on the forward hook whose policy is drop, as Docker's is (`nft -j list chains`)."""
    found = []
    for one in chains:
        chain = one.get("chain", {})
        foreign = not str(chain.get("table", "")).startswith(TABLE_PREFIX)
        drops = chain.get("hook") == "forward" and chain.get("policy") == "drop"
        plain = all(is_identifier(str(chain.get(key, ""))) for key in ("table", "name"))
        if foreign and drops and plain and chain.get("family") in ("ip", "ip6", "inet"):
            found.append(Chain(chain["family"], chain["table"], chain["name"]))
    return found


def accept_rules(chain: Chain, network: str, ranges: Iterable[Network]) -> list[str]:
    """Rules at the chain's head that let the ranges' packets pass, both ways.

    An accept in a table of ours would not help: a drop in any other base chain of the hook is final.
    nft insert rule ip filter FORWARD ip saddr 10.244.0.0/16 counter accept comment "podwire mynet"
    """
    rules = []
    for one in _sorted(ranges):
        word = PROTOCOL[one.version]
        if chain.family in (word, "inet"):
            for side in ("saddr", "daddr"):
                rules.append(
                    f'insert rule {chain.place} {word} {side} {one} counter accept comment "{accept_tag(network)}"'
                )
    return rules


def accepted(chain: Chain, network: str, rules: Iterable[JsonObject]) -> list[JsonObject]:
    """A network's accept rules in somebody's chain, among all the rules of its table."""
    ours = chain.name, accept_tag(network)
    return [one["rule"] for one in rules if (one["rule"]["chain"], one["rule"]["comment"]) == ours]
