"""The names of podwire's tables and the comments of its rules; no other module spells them."""

from __future__ import annotations

from podwire.digest import blake2b

TABLE_PREFIX = "podwire-"
"""A network's table is `inet podwire-<network>`."""

PORTS_TABLE = TABLE_PREFIX + "ports"
"""The table of host ports (`hostports.py`); no network's table has this name."""

COMMENT_PREFIX = "podwire "
"""The comment of every rule of podwire begins so, in its own tables and in chains of other programs."""

NAME_LETTERS = 60
FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."
LETTERS = FIRST_LETTERS + "0123456789/\\-"


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
    """The comment of a network's accept rules in chains of other programs."""
    return COMMENT_PREFIX + short_name(network)
