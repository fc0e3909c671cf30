"""The names and comments by which podwire knows its own tables and rules; nothing else names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import collapse_addresses

from podwire.digest import blake2b
from podwire.ip import Network

TABLE_PREFIX = "podwire-"


PORTS_TABLE = TABLE_PREFIX + "ports"
"""The table of host ports (`node/ports.py`); no network's table has this name."""


ACCEPT_MARK = "podwire "


NAME_LETTERS = 60


FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."


LETTERS = FIRST_LETTERS + "0123456789/\\-"


PROTOCOL = {4: "ip", 6: "ip6"}


def is_identifier(name: str) -> bool:
    """Is it a name as nft's own grammar has them? It cannot speak of others."""
    return bool(name) and name[0] in FIRST_LETTERS and not name.strip(LETTERS)


def short_name(network: str) -> str:
    """A network's name fit for an nft identifier and comment."""
    if len(network) <= NAME_LETTERS:
        return network
    return blake2b(network.encode(), digest_size=16).hexdigest()


def _sorted(networks: Iterable[Network]) -> list[Network]:
    unique = set(networks)
    return [
        *collapse_addresses(one for one in unique if one.version == 4),
        *collapse_addresses(one for one in unique if one.version == 6),
    ]


def _set(networks: Sequence[Network]) -> str:
    return "{ " + ", ".join(str(one) for one in networks) + " }"


def _comment(rule: str) -> str:
    return "podwire " + blake2b(rule.encode(), digest_size=8).hexdigest()


def accept_tag(network: str) -> str:
    """The comment of a network's accept rules in other people's chains."""
    return ACCEPT_MARK + short_name(network)
