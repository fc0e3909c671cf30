"""The host's firewall as podwire wants it: masquerade out of the cluster, and no dropping of pods' traffic.

Pure: nft(8) texts are made here and listings compared; `kernel/firewall.py` runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses, ip_network

from podwire.cni.document import JsonObject
from podwire.plan.digest import blake2b
from podwire.plan.operations import Network
from podwire.plan.record import Record

TABLE_PREFIX = "podwire-"
PORTS_TABLE = TABLE_PREFIX + "ports"
"""The table of host ports (`node/ports.py`); no network's table has this name."""

ACCEPT_MARK = "podwire "
NAME_LETTERS = 60
FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
LETTERS = FIRST_LETTERS + "0123456789/\\-"

PROTOCOL = {4: "ip", 6: "ip6"}
NEVER_MASQUERADED: dict[int, Network] = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


class Masquerade(Record):
    """Traffic from `pods` to anywhere outside `inside` leaves with the node's own address."""

    table: str
    pods: tuple[Network, ...]
    inside: tuple[Network, ...]


class Chain(Record):
    """A base chain of somebody else that drops forwarded packets by default."""

    family: str
    table: str
    name: str

    @property
    def place(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def is_identifier(name: str) -> bool:
    """Is it a name as nft's own grammar has them? It cannot speak of others."""
    return bool(name) and name[0] in FIRST_LETTERS and not name.strip(LETTERS)


def short_name(network: str) -> str:
    """A network's name fit for an nft identifier and comment."""
    if len(network) <= NAME_LETTERS:
        return network
    return blake2b(network.encode(), digest_size=16).hexdigest()


def masquerade(network: str, pods: Iterable[Network], inside: Iterable[Network], *, own_ranges: bool) -> Masquerade:
    """What to masquerade for a network: traffic that leaves `inside`.

    Ranges of a delegated IPAM plug-in get tables of their own by range.
    """
    sources = tuple(_sorted(pods))
    name = short_name(network)
    if not own_ranges or TABLE_PREFIX + name == PORTS_TABLE:
        name += "-" + blake2b(repr(sources).encode(), digest_size=4).hexdigest()
    return Masquerade(TABLE_PREFIX + name, sources, tuple(_sorted(inside)))


def _sorted(networks: Iterable[Network]) -> list[Network]:
    unique = set(networks)
    return [
        *collapse_addresses(one for one in unique if one.version == 4),
        *collapse_addresses(one for one in unique if one.version == 6),
    ]


def masquerade_rules(wanted: Masquerade) -> list[str]:
    """The rules of the postrouting chain, one a family, each with a comment that tells its content."""
    rules = []
    for version, word in PROTOCOL.items():
        pods = [one for one in wanted.pods if one.version == version]
        if not pods:
            continue
        inside = [one for one in wanted.inside if one.version == version] + [NEVER_MASQUERADED[version]]
        rule = f"{word} saddr {_set(pods)} {word} daddr != {_set(inside)} masquerade fully-random"
        rules.append(f'{rule} comment "{_comment(rule)}"')
    return rules


def _set(networks: Sequence[Network]) -> str:
    return "{ " + ", ".join(str(one) for one in networks) + " }"


def _comment(rule: str) -> str:
    return "podwire " + blake2b(rule.encode(), digest_size=8).hexdigest()


def masquerade_text(wanted: Masquerade) -> str:
    """One transaction that replaces the table, whatever it held.

    nft add table inet podwire-NAME; nft add chain … { type nat hook postrouting priority srcnat; }; nft add rule …
    """
    rules = "".join(f"    {rule}\n" for rule in masquerade_rules(wanted))
    return (
        f"table inet {wanted.table}\n"
        f"delete table inet {wanted.table}\n"
        f"table inet {wanted.table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"{rules}  }}\n}}\n"
    )


def is_in_place(wanted: Masquerade, listing: Sequence[JsonObject]) -> bool:
    """Does the listing of the table (`nft -j list table`) hold its chain and exactly its rules?"""
    chains = [one["chain"] for one in listing if "chain" in one]
    rules = [one["rule"].get("comment", "") for one in listing if "rule" in one]
    hooked = len(chains) == 1 and chains[0].get("hook") == "postrouting"
    return hooked and rules == [rule.rsplit('"', 2)[1] for rule in masquerade_rules(wanted)]


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


def accept_tag(network: str) -> str:
    """The comment of a network's accept rules in other people's chains."""
    return ACCEPT_MARK + short_name(network)


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
