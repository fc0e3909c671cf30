# SPDX-License-Identifier: Apache-2.0
"""Firewall texts, and what listings of the ruleset mean."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from podwire.nft import forward, names
from podwire.nft import masquerade as want

PODS, CLUSTER = (ip_network("10.244.1.0/24"),), (ip_network("10.244.0.0/16"),)


def test_the_table_masquerades_what_leaves_the_cluster_and_nothing_else() -> None:
    text = want.masquerade_text(want.desired_masquerade("mynet", PODS, CLUSTER, own_ranges=True))
    assert "table inet podwire-mynet" in text and "priority srcnat" in text
    assert "ip saddr { 10.244.1.0/24 } ip daddr != { 10.244.0.0/16, 224.0.0.0/4 } masquerade fully-random" in text
    assert "ip6" not in text


def test_dual_stack_has_a_rule_a_family() -> None:
    pods = (*PODS, ip_network("fd00:10:244:1::/64"))
    inside = (*CLUSTER, ip_network("fd00:10:244::/48"))
    rules = want.masquerade_rules(want.desired_masquerade("n", pods, inside, own_ranges=True))
    assert len(rules) == 2 and "ff00::/8" in rules[1]


def test_networks_with_hostile_or_long_names_get_identifiers() -> None:
    for name in ("a" * 300, "x-y_z.9", "9lives"):
        table = want.desired_masquerade(name, PODS, CLUSTER, own_ranges=True).table
        assert names.is_identifier(table) and len(table) < 100
    assert names.short_name("a" * 300) != names.short_name("a" * 301)


def test_ranges_of_another_ipam_plugin_do_not_replace_each_other() -> None:
    first = want.desired_masquerade("n", [ip_network("10.1.0.0/24")], (), own_ranges=False)
    second = want.desired_masquerade("n", [ip_network("10.2.0.0/24")], (), own_ranges=False)
    assert first.table != second.table


def listing(wanted: want.Masquerade, **changes: Any) -> list[dict[str, Any]]:
    comments = [rule.rsplit('"', 2)[1] for rule in want.masquerade_rules(wanted)]
    chain = {"chain": {"name": "postrouting", "hook": "postrouting", **changes}}
    return [{"table": {}}, chain, *({"rule": {"comment": comment}} for comment in comments)]


def test_a_listing_is_in_place_only_when_every_rule_is_there_once() -> None:
    wanted = want.desired_masquerade("n", PODS, CLUSTER, own_ranges=True)
    whole = listing(wanted)
    assert want.is_in_place(wanted, whole)
    assert not want.is_in_place(wanted, whole[:-1])
    assert not want.is_in_place(wanted, [*whole, whole[-1]])
    assert not want.is_in_place(wanted, [])
    assert not want.is_in_place(wanted, listing(wanted, hook="input"))
    other = want.desired_masquerade("n", PODS, (ip_network("10.0.0.0/8"),), own_ranges=True)
    assert not want.is_in_place(other, whole)


def chain(**values: str) -> dict[str, Any]:
    return {
        "chain": {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "drop", **values}
    }


def test_only_foreign_chains_that_drop_what_is_forwarded_are_opened() -> None:
    chains = [
        chain(),
        chain(policy="accept"),
        chain(hook="input"),
        chain(family="ip6"),
        chain(family="bridge"),
        chain(table="podwire-n"),
        chain(name="strange name"),
    ]
    assert [chain_.place for chain_ in forward.dropping_chains(chains)] == ["ip filter FORWARD", "ip6 filter FORWARD"]


def test_accept_rules_fit_the_chains_family_and_carry_their_tag() -> None:
    ranges = (*CLUSTER, ip_network("fd00:10:244::/48"))
    four = forward.accept_rules(forward.Chain("ip", "filter", "FORWARD"), "n", ranges)
    assert four == [
        'insert rule ip filter FORWARD ip saddr 10.244.0.0/16 counter accept comment "podwire n"',
        'insert rule ip filter FORWARD ip daddr 10.244.0.0/16 counter accept comment "podwire n"',
    ]
    assert len(forward.accept_rules(forward.Chain("inet", "fw", "fwd"), "n", ranges)) == 4
    found = [{"rule": {"chain": "FORWARD", "comment": f"podwire {name}", "handle": 7}} for name in ("n", "nn")]
    elsewhere = {"rule": {"chain": "OTHER", "comment": "podwire n", "handle": 8}}
    chain_ = forward.Chain("ip", "filter", "FORWARD")
    assert forward.existing_accept_rules(chain_, "n", [*found, elsewhere]) == [found[0]["rule"]]
