# SPDX-License-Identifier: Apache-2.0
"""Whether a ruleset, as `nft -j list ruleset` prints it, drops a packet."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from podwire.diagnose.nft_verdict import FilteredPacket, find_drops, source_nat_rules

Row = dict[str, Any]
PING = FilteredPacket(
    ip_address("10.1.0.5"), ip_address("10.2.0.5"), 1, type=8, input_device="pw1", output_device="eth0"
)
WEB = FilteredPacket(ip_address("10.1.0.5"), ip_address("10.2.0.5"), 6, port=80, source_port=999, input_device="pw1")


def chain(policy: str = "accept", hook: str = "forward", name: str = "c", family: str = "inet") -> Row:
    return {"chain": {"family": family, "table": "t", "name": name, "type": "filter", "hook": hook, "policy": policy}}


def rule(*expr: Row, name: str = "c", handle: int = 7, family: str = "inet") -> Row:
    return {"rule": {"family": family, "table": "t", "chain": name, "handle": handle, "expr": list(expr)}}


def match(left: Row, right: Any, op: str = "==") -> Row:
    return {"match": {"op": op, "left": left, "right": right}}


def field(protocol: str, name: str) -> Row:
    return {"payload": {"protocol": protocol, "field": name}}


def prefix(address: str, length: int) -> Row:
    return {"prefix": {"addr": address, "len": length}}


DROP: Row = {"drop": None}
ACCEPT: Row = {"accept": None}
COUNTER: Row = {"counter": {"packets": 0, "bytes": 0}}
PODS = match(field("ip", "saddr"), prefix("10.0.0.0", 8))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([chain()], None),
        ([chain("drop")], "chain inet t c: policy drop"),
        ([chain("drop", hook="input")], None),
        ([chain("drop", family="ip6")], None),
        ([chain("drop"), rule(PODS, COUNTER, ACCEPT)], None),
        ([chain("drop"), rule(match(field("ip", "saddr"), "10.9.9.9"), ACCEPT)], "chain inet t c: policy drop"),
        ([chain(), rule(PODS, DROP)], "rule 7 of chain inet t c: drop"),
        ([chain(), rule(PODS, {"reject": None})], "rule 7 of chain inet t c: reject"),
        ([chain(), rule(PODS, {"xt": {"type": "target", "name": "REJECT"}})], "rule 7 of chain inet t c: reject"),
        ([chain(), rule(match(field("tcp", "dport"), 80), DROP)], None),
        ([chain(), rule(match({"meta": {"key": "l4proto"}}, "icmp"), DROP)], "rule 7 of chain inet t c: drop"),
        ([chain(), rule(match({"meta": {"key": "l4proto"}}, "udp"), DROP)], None),
        ([chain(), rule(match(field("icmp", "type"), "echo-request"), DROP)], "rule 7 of chain inet t c: drop"),
        ([chain(), rule(match(field("icmp", "type"), "destination-unreachable"), DROP)], None),
        ([chain(), rule(match({"meta": {"key": "iifname"}}, "pw*"), DROP)], "rule 7 of chain inet t c: drop"),
        ([chain(), rule(match({"meta": {"key": "oifname"}}, "eth0", "!="), DROP)], None),
        ([chain(), rule(match(field("ip6", "daddr"), "fd00::1"), DROP)], None),
        (
            [chain(), rule(match(field("ip", "daddr"), {"set": [prefix("10.2.0.0", 16), "192.0.2.1"]}), DROP)],
            "rule 7 of chain inet t c: drop",
        ),
        ([chain(), rule(match(field("ip", "daddr"), {"range": ["10.2.0.6", "10.2.0.9"]}), DROP)], None),
        (
            [chain("drop"), rule(match({"ct": {"key": "state"}}, ["established", "related"], "in"), ACCEPT)],
            "chain inet t c: policy drop",
        ),
        (
            [chain("drop"), rule({"xt": {"type": "match", "name": "conntrack"}}, ACCEPT)],
            "chain inet t c: policy drop (perhaps)",
        ),
        ([chain(), rule({"jump": {"target": "d"}}), rule(DROP, name="d")], "rule 7 of chain inet t d: drop"),
        ([chain("drop"), rule({"jump": {"target": "d"}}), rule(PODS, ACCEPT, name="d")], None),
        (
            [chain("drop"), rule({"jump": {"target": "d"}}), rule(PODS, {"return": None}, name="d")],
            "chain inet t c: policy drop",
        ),
        (
            [
                {"set": {"family": "inet", "table": "t", "name": "s", "elem": [prefix("10.1.0.0", 24)]}},
                chain(),
                rule(match(field("ip", "saddr"), "@s"), DROP),
            ],
            "rule 7 of chain inet t c: drop",
        ),
    ],
)
def test_only_the_rule_that_drops_a_ping_is_found(rows: list[Row], words: str | None) -> None:
    found = find_drops(rows, ("forward",), PING)
    assert [packet_drop.words for packet_drop in found[:1]] == ([words] if words else [])


def test_ports_are_compared() -> None:
    blocked = [chain(), rule(match(field("tcp", "dport"), {"set": [80, 443]}), DROP)]
    assert find_drops(blocked, ("forward",), WEB)
    assert find_drops([chain(), rule(match(field("th", "dport"), {"range": [1, 100]}), DROP)], ("forward",), WEB)
    assert not find_drops([chain(), rule(match(field("udp", "dport"), 80), DROP)], ("forward",), WEB)


def test_a_loop_of_jumps_ends() -> None:
    assert not find_drops([chain(), rule({"jump": {"target": "c"}})], ("forward",), PING)


def test_masquerade_is_found_in_both_notations() -> None:
    legacy = rule({"xt": {"type": "target", "name": "MASQUERADE"}}, handle=1)
    assert [rule.handle for rule in source_nat_rules([legacy, rule({"masquerade": None}, handle=2), rule(DROP)])] == [
        1,
        2,
    ]
