"""The nftables table that masquerades what pods send out of the cluster: its text, compared with what is there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from podwire.cni.document import JsonObject
from podwire.digest import blake2b
from podwire.ip import Network
from podwire.nft.names import PORTS_TABLE, PROTOCOL, TABLE_PREFIX, _comment, _set, _sorted, short_name
from podwire.record import Record

NEVER_MASQUERADED: dict[int, Network] = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


class Masquerade(Record):
    """Traffic from `pods` to anywhere outside `inside` leaves with the node's own address."""

    table: str
    pods: tuple[Network, ...]
    inside: tuple[Network, ...]


def masquerade(network: str, pods: Iterable[Network], inside: Iterable[Network], *, own_ranges: bool) -> Masquerade:
    """What to masquerade for a network: traffic that leaves `inside`.

    Ranges of a delegated IPAM plug-in get tables of their own by range.
    """
    sources = tuple(_sorted(pods))
    name = short_name(network)
    if not own_ranges or TABLE_PREFIX + name == PORTS_TABLE:
        name += "-" + blake2b(repr(sources).encode(), digest_size=4).hexdigest()
    return Masquerade(TABLE_PREFIX + name, sources, tuple(_sorted(inside)))


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
