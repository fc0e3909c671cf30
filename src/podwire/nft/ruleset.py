# SPDX-License-Identifier: Apache-2.0
"""The host's ruleset, read by netlink in a tenth of a millisecond: chains, and the comments of rules, as in `nft -j
list`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from podwire.cni.document import JsonObject
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink.read import string
from podwire.netlink.socket import Netlink

FAMILIES = {c.NFPROTO_INET: "inet", c.NFPROTO_IPV4: "ip", c.NFPROTO_BRIDGE: "bridge", c.NFPROTO_IPV6: "ip6"}
NUMBERS = {name: number for number, name in FAMILIES.items()}
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
POLICIES = ("drop", "accept")
ACCEPT = b"\1"

Object = tuple[int, dict[int, bytes]]


def _dump(socket: Netlink, request: int, answer: int, family: int, *attributes: bytes) -> Iterator[Object]:
    body = nl.NFGENMSG.pack(family, 0, 0)
    for kind, payload in socket.get(nl.message(c.NFNL_SUBSYS_NFTABLES << 8 | request, c.NLM_F_DUMP, body, *attributes)):
        if kind == c.NFNL_SUBSYS_NFTABLES << 8 | answer:
            yield payload[0], nl.attributes(payload, 4)


def chains(socket: Netlink) -> list[JsonObject]:
    """nft -j list chains: the base chains of the families that filter packets by hook. Raises NetlinkError.

    A hook or policy without a name here, such as `ingress`, is its number as text.
    """
    found: list[JsonObject] = []
    for number, values in _dump(socket, c.NFT_MSG_GETCHAIN, c.NFT_MSG_NEWCHAIN, 0):
        hook = nl.attributes(values.get(c.NFTA_CHAIN_HOOK, b""))
        if number in FAMILIES and c.NFTA_HOOK_HOOKNUM in hook:
            chain = {
                "family": FAMILIES[number],
                "table": string(values.get(c.NFTA_CHAIN_TABLE)),
                "name": string(values.get(c.NFTA_CHAIN_NAME)),
                "hook": _name(HOOKS, hook[c.NFTA_HOOK_HOOKNUM]),
                "policy": _name(POLICIES, values.get(c.NFTA_CHAIN_POLICY, ACCEPT)),
            }
            found.append({"chain": chain})
    return found


def _name(names: Sequence[str], raw: bytes) -> str:
    number = int.from_bytes(raw, "big")
    return names[number] if number < len(names) else str(number)


def rules(socket: Netlink, family: str, table: str) -> list[JsonObject]:
    """The chain, handle and comment of each rule of a table; none where there is no such table. Raises NetlinkError.

    nft -j -a list table FAMILY TABLE
    """
    found: list[JsonObject] = []
    wanted = nl.text(c.NFTA_RULE_TABLE, table)
    for _, values in _dump(socket, c.NFT_MSG_GETRULE, c.NFT_MSG_NEWRULE, NUMBERS[family], wanted):
        if string(values.get(c.NFTA_RULE_TABLE)) == table:
            rule = {
                "chain": string(values.get(c.NFTA_RULE_CHAIN)),
                "handle": int.from_bytes(values.get(c.NFTA_RULE_HANDLE, b""), "big"),
                "comment": _comment(values.get(c.NFTA_RULE_USERDATA, b"")),
            }
            found.append({"rule": rule})
    return found


def _comment(data: bytes) -> str:
    """The comment in a rule's user data, which is a sequence of type, length and value."""
    while len(data) >= 2:
        kind, end = data[0], 2 + data[1]
        if kind == c.NFTNL_UDATA_RULE_COMMENT:
            return string(data[2:end])
        data = data[end:]
    return ""
