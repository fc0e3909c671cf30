"""From Nodes to settings: which Node's ranges count, and what is wrong with those that do not. No effects.

Every agent decides alike: where two Nodes claim one range, the older keeps it (the name decides among twins).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct

from podwire.kube.objects import Fact
from podwire.kube.settings import Common, raw_settings
from podwire.node.settings import Known, Peer, RawPeer, Settings, SettingsError, settle
from podwire.plan.operations import Network

RANGE_MISSING, RANGE_WRONG, RANGE_OUTSIDE, RANGE_TAKEN = (
    "PodRangeMissing",
    "PodRangeWrong",
    "PodRangeOutsideCluster",
    "PodRangeTaken",
)
ADDRESS_MISSING, REFUSED = "AddressMissing", "NodeRefused"
AT_PEER = re.compile(r"peers\[(\d+)\]")


class Problem(Struct, frozen=True):
    """What is wrong with a Node, for its log line and its Event; `reason` is one CamelCase word."""

    node: str
    reason: str
    words: str


class Wanted(Struct):
    """What follows from the Nodes: `settings` is None as long as this node has no good range or no address."""

    settings: Settings | None
    problems: list[Problem]
    known: dict[RawPeer, Peer]
    own: Fact | None
    """This node with the ranges that count, to be given as `before` the next time."""


class _Claim(Struct):
    network: Network
    text: str
    owner: Fact


def wanted(
    facts: Mapping[str, Fact], own_name: str, common: Common, known: Known | None = None, before: Fact | None = None
) -> Wanted:
    """The settings of node `own_name`. A bad peer is a problem and has no path; the others are not affected.

    This node's own part, once good, stays as it was (`before`) while its Node is bad or gone: its pods live on.
    """
    problems: list[Problem] = []
    good = _good_ranges(facts.values(), common, problems)
    own = _usable(facts.get(own_name), good, problems) or before
    peers = []
    for fact in facts.values():
        if fact.name != own_name and (one := _usable(fact, good, problems)):
            peers.append(RawPeer(one.name, one.addresses, one.pod_ranges))
    if own_name not in facts:
        problems.append(Problem(own_name, "NodeMissing", f"there is no Node {own_name}: is --node-name right?"))
    if own is None:
        return Wanted(None, problems, dict(known or {}), None)
    while True:
        raw = raw_settings(common, own_name, own.addresses, own.pod_ranges, tuple(peers))
        try:
            settings, parsed = settle(raw, own_name, known)
        except SettingsError as wrong:
            place = AT_PEER.match(wrong.where)
            name = peers.pop(int(place[1])).name if place else own_name
            problems.append(Problem(name, REFUSED, f"{wrong.where.partition('.')[2] or wrong.where}: {wrong.words}"))
            if place is None:
                return Wanted(None, problems, dict(known or {}), None)
            continue
        return Wanted(settings, problems, parsed, own)


def _usable(fact: Fact | None, good: Mapping[str, list[str]], problems: list[Problem]) -> Fact | None:
    """The Node with the ranges that count; None if that leaves nothing to reach."""
    if fact is None:
        return None
    if not fact.pod_ranges:
        words = "has no podCIDR: give the controller manager --cluster-cidr and --allocate-node-cidrs"
        problems.append(Problem(fact.name, RANGE_MISSING, f"{words} (kubeadm init --pod-network-cidr)"))
    if not fact.addresses:
        words = "has no InternalIP: see to its kubelet (--node-ip)"
        problems.append(Problem(fact.name, ADDRESS_MISSING, words))
    ranges = tuple(good.get(fact.name, ()))
    return Fact(fact.name, fact.born, fact.addresses, ranges) if ranges and fact.addresses else None


def _good_ranges(facts: Iterable[Fact], common: Common, problems: list[Problem]) -> dict[str, list[str]]:
    """Every Node's ranges without those that are no ranges, lie outside the cluster's, or are another Node's."""
    cluster = [ip_network(one) for one in common.cluster_ranges]
    claims: list[_Claim] = []
    for fact in facts:
        for text in fact.pod_ranges:
            network = _parsed(text)
            if network is None:
                problems.append(Problem(fact.name, RANGE_WRONG, f"podCIDR {text!r} is not an address range"))
            elif not any(network.version == one.version and network.subnet_of(one) for one in cluster):  # type: ignore[arg-type]
                whole = ", ".join(common.cluster_ranges)
                words = f"podCIDR {text} lies outside the cluster's ranges {whole}: correct cluster_ranges"
                problems.append(Problem(fact.name, RANGE_OUTSIDE, f"{words} in podwire's configuration, or the Node"))
            else:
                claims.append(_Claim(network, text, fact))
    claims.sort(key=lambda one: (one.network.version, int(one.network.network_address), one.network.prefixlen))
    kept: list[_Claim] = []
    for claim in claims:
        while kept and kept[-1].network.overlaps(claim.network):
            old = kept[-1]
            if (old.owner.born, old.owner.name) <= (claim.owner.born, claim.owner.name):
                problems.append(_taken(claim, old))
                break
            problems.append(_taken(old, claim))
            kept.pop()
        else:
            kept.append(claim)
    chosen = {(one.owner.name, one.text) for one in kept}
    return {
        fact.name: [text for text in fact.pod_ranges if (fact.name, text) in chosen]
        for fact in {one.owner.name: one.owner for one in kept}.values()
    }


def _taken(loser: _Claim, winner: _Claim) -> Problem:
    words = f"podCIDR {loser.text} overlaps {winner.text} of the older Node {winner.owner.name}: delete this Node"
    return Problem(loser.owner.name, RANGE_TAKEN, f"{words} and let it join again")


@lru_cache(maxsize=1 << 15)
def _parsed(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def same_addresses(before: Fact, after: Fact) -> bool:
    """Do two facts name the same addresses, however they are spelled?"""
    try:
        return {ip_address(one) for one in before.addresses} == {ip_address(one) for one in after.addresses}
    except ValueError:
        return before.addresses == after.addresses
