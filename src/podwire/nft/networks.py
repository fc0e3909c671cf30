"""How IP networks are written in nft rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses

from podwire.ip import Network

KEYWORD = {4: "ip", 6: "ip6"}
"""The keyword of an IP version, in rules and as a table's family."""


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """Networks without overlaps, in order, IPv4 first: an nft set refuses overlapping elements."""
    unique = set(networks)
    return [
        *collapse_addresses(network for network in unique if network.version == 4),
        *collapse_addresses(network for network in unique if network.version == 6),
    ]


def set_text(networks: Sequence[Network]) -> str:
    """An anonymous set: `{ 10.0.0.0/8, 192.168.0.0/16 }`."""
    return "{ " + ", ".join(str(network) for network in networks) + " }"
