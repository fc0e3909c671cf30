# SPDX-License-Identifier: Apache-2.0
"""Names of podwire's tables and comments of its rules, which no other module spells; IP networks in nft's grammar."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import collapse_addresses

from podwire.digest import blake2b
from podwire.ip import Network

TABLE_PREFIX = "podwire-"  # a network's table is `inet podwire-<network>`
PORTS_TABLE = TABLE_PREFIX + "ports"  # the table of host ports (`hostports.py`); no network's table has this name
# The comment of every rule of podwire begins so, in its own tables and in chains of other programs.
COMMENT_PREFIX = "podwire "
NAME_LETTERS = 60
FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
LETTERS = FIRST_LETTERS + "0123456789/\\-"
KEYWORD = {4: "ip", 6: "ip6"}  # the keyword of an IP version, in rules and as a table's family


def is_identifier(name: str) -> bool:
    """Is it an identifier of nft's grammar? The commands of nft(8) can name nothing else."""
    return bool(name) and name[0] in FIRST_LETTERS and not name.strip(LETTERS)


def short_name(network: str) -> str:
    """A network's name, or its digest where the name is too long for an identifier and a comment."""
    if len(network) <= NAME_LETTERS:
        return network
    return blake2b(network.encode(), digest_size=16).hexdigest()


def content_comment(rule: str) -> str:
    """The comment of a rule in a table of podwire: a digest of its text, so that a changed rule has another comment."""
    return COMMENT_PREFIX + blake2b(rule.encode(), digest_size=8).hexdigest()


def accept_comment(network: str) -> str:
    return COMMENT_PREFIX + short_name(network)


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """Networks without overlaps, in order, IPv4 first: an nft set refuses overlapping elements."""
    unique = set(networks)
    return [
        *collapse_addresses(network for network in unique if network.version == 4),
        *collapse_addresses(network for network in unique if network.version == 6),
    ]
