# SPDX-License-Identifier: Apache-2.0
"""The nftables table that masquerades what pods send out of the cluster: its text, compared with a listing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from podwire.cni.document import JsonObject
from podwire.digest import blake2b
from podwire.ip import Network
from podwire.nft.names import KEYWORD, PORTS_TABLE, TABLE_PREFIX, collapsed, content_comment, short_name
from podwire.record import Record

MULTICAST: dict[int, Network] = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


class Masquerade(Record):
    """Packets from `pods` to any destination outside `excluded` leave with the node's own address."""

    table: str
    pods: tuple[Network, ...]
    excluded: tuple[Network, ...]


def desired_masquerade(
    network: str, pods: Iterable[Network], excluded: Iterable[Network], *, own_ranges: bool
) -> Masquerade:
    """What to masquerade for a network: packets from `pods` to destinations outside `excluded`.

    Without `own_ranges` another IPAM plugin assigns the addresses: the table's name then contains a digest of the
    ranges, so that networks of one name with different ranges have different tables.
    """
    sources = tuple(collapsed(pods))
    name = short_name(network)
    if not own_ranges or TABLE_PREFIX + name == PORTS_TABLE:
        name += "-" + blake2b(repr(sources).encode(), digest_size=4).hexdigest()
    return Masquerade(TABLE_PREFIX + name, sources, tuple(collapsed(excluded)))


def masquerade_rules(desired: Masquerade) -> list[str]:
    """The rules of the postrouting chain, one for each IP version, each with a comment that is its digest.

    nft add rule inet podwire-NAME postrouting ip saddr { PODS } ip daddr != { EXCLUDED } masquerade fully-random
    """
    rules = []
    for version, keyword in KEYWORD.items():
        pods = [network for network in desired.pods if network.version == version]
        if not pods:
            continue
        excluded = [network for network in desired.excluded if network.version == version] + [MULTICAST[version]]
        inside, outside = (", ".join(map(str, networks)) for networks in (pods, excluded))
        rule = f"{keyword} saddr {{ {inside} }} {keyword} daddr != {{ {outside} }} masquerade fully-random"
        rules.append(f'{rule} comment "{content_comment(rule)}"')
    return rules


def masquerade_text(desired: Masquerade) -> str:
    """One transaction that replaces the table.

    nft add table inet podwire-NAME; nft add chain … { type nat hook postrouting priority srcnat; }; nft add rule …
    """
    rules = "".join(f"    {rule}\n" for rule in masquerade_rules(desired))
    return (
        f"table inet {desired.table}\n"
        f"delete table inet {desired.table}\n"
        f"table inet {desired.table} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"{rules}  }}\n}}\n"
    )


def is_in_place(desired: Masquerade, listing: Sequence[JsonObject]) -> bool:
    """Does the listing of the table (`nft -j list table`) contain its chain and exactly its rules?"""
    chains = [entry["chain"] for entry in listing if "chain" in entry]
    comments = [entry["rule"].get("comment", "") for entry in listing if "rule" in entry]
    hooked = len(chains) == 1 and chains[0].get("hook") == "postrouting"
    return hooked and comments == [rule.rsplit('"', 2)[1] for rule in masquerade_rules(desired)]
