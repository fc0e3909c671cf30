"""From Nodes to settings: which Node's ranges count, and what is wrong with those that do not. No effects.

Every agent decides alike: where two Nodes claim one range, the older keeps it (the name decides among twins).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network

from msgspec import Struct

from podwire.ip import Network
from podwire.kube.objects import NodeInfo
from podwire.kube.settings import Common, raw_settings
from podwire.node.old_settings import Known, Peer, RawPeer, Settings, SettingsError, settle

POD_CIDR_NOT_ASSIGNED, RANGE_WRONG, RANGE_OUTSIDE, RANGE_TAKEN = (
    "PodCIDRNotAssigned",
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
    own: NodeInfo | None
    """This node with the ranges that count, to be given as `before` the next time."""


class _Claim(Struct):
    network: Network
    text: str
    owner: NodeInfo


def wanted(
    infos: Mapping[str, NodeInfo],
    own_name: str,
    common: Common,
    known: Known | None = None,
    before: NodeInfo | None = None,
) -> Wanted:
    """The settings of node `own_name`. A bad peer is a problem and has no path; the others are not affected.

    This node's own part, once good, stays as it was (`before`) while its Node is bad or gone: its pods live on.
    """
    problems: list[Problem] = []
    good = _good_ranges(infos.values(), common, problems)
    own = _usable(infos.get(own_name), good, problems) or before
    peers = []
    for node_info in infos.values():
        if node_info.name != own_name and (one := _usable(node_info, good, problems)):
            peers.append(RawPeer(one.name, one.addresses, one.pod_ranges))
    if own_name not in infos:
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


def _usable(node_info: NodeInfo | None, good: Mapping[str, list[str]], problems: list[Problem]) -> NodeInfo | None:
    """The Node with the ranges that count; None if that leaves nothing to reach."""
    if node_info is None:
        return None
    if not node_info.pod_ranges:
        words = "has no podCIDR: give the controller manager --cluster-cidr and --allocate-node-cidrs"
        problems.append(Problem(node_info.name, POD_CIDR_NOT_ASSIGNED, f"{words} (kubeadm init --pod-network-cidr)"))
    if not node_info.addresses:
        words = "has no InternalIP: see to its kubelet (--node-ip)"
        problems.append(Problem(node_info.name, ADDRESS_MISSING, words))
    ranges = tuple(good.get(node_info.name, ()))
    return (
        NodeInfo(node_info.name, node_info.born, node_info.addresses, ranges)
        if ranges and node_info.addresses
        else None
    )


def _good_ranges(infos: Iterable[NodeInfo], common: Common, problems: list[Problem]) -> dict[str, list[str]]:
    """Every Node's ranges without those that are no ranges, lie outside the cluster's, or are another Node's."""
    cluster = [ip_network(one) for one in common.cluster_ranges]
    claims: list[_Claim] = []
    for node_info in infos:
        for text in node_info.pod_ranges:
            network = _parsed(text)
            if network is None:
                problems.append(Problem(node_info.name, RANGE_WRONG, f"podCIDR {text!r} is not an address range"))
            elif not any(network.version == one.version and network.subnet_of(one) for one in cluster):  # type: ignore[arg-type]
                whole = ", ".join(common.cluster_ranges)
                words = f"podCIDR {text} lies outside the cluster's ranges {whole}: correct cluster_ranges"
                problems.append(
                    Problem(node_info.name, RANGE_OUTSIDE, f"{words} in podwire's configuration, or the Node")
                )
            else:
                claims.append(_Claim(network, text, node_info))
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
        node_info.name: [text for text in node_info.pod_ranges if (node_info.name, text) in chosen]
        for node_info in {one.owner.name: one.owner for one in kept}.values()
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


def same_addresses(before: NodeInfo, after: NodeInfo) -> bool:
    """Do two infos name the same addresses, however they are spelled?"""
    try:
        return {ip_address(one) for one in before.addresses} == {ip_address(one) for one in after.addresses}
    except ValueError:
        return before.addresses == after.addresses
