# SPDX-License-Identifier: Apache-2.0
"""The table of Nodes against a simple evaluator: same peers, same problems, whatever arrives in whatever order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from heapq import heappop
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.kube import claims, nodes
from podwire.kube.nodes import Delta, NodeTable
from podwire.kube.objects import NodeInfo
from podwire.kube.settings import ClusterSettings
from podwire.node.settings import NodeSettings, Peer

CLUSTER = ("10.244.0.0/16", "fd00:10:244::/48")
OWN = "n0"
NAMES = [OWN, "n1", "n2", "n3", "n4", "n5"]
FOUR = ["10.244.0.0/20", "10.244.0.0/24", "10.244.1.0/24", "10.244.0.0/25", "10.244.0.128/25", "10.244.16.0/24"]
SIX = ["fd00:10:244::/56", "fd00:10:244::/64", "fd00:10:244:1::/64", "fd00:10:244:0100::/64"]
BAD = ["10.99.0.0/24", "10.244.0.1/24", "x", "fd01::/64"]
ADDRESSES = ["192.168.0.1", "192.168.0.2", "192.168.0.3", "fd00::1", "fd00:0::1", "fd00::2", "127.0.0.1", "x"]

infos = st.builds(
    lambda created, addresses, cidrs: (created, tuple(addresses), tuple(cidrs)),
    st.sampled_from(["2024", "2025", "2026"]),
    st.lists(st.sampled_from(ADDRESSES), max_size=2),
    st.lists(st.sampled_from(FOUR + SIX + BAD), max_size=3),
)
updates = st.lists(st.tuples(st.sampled_from(NAMES), st.none() | infos), min_size=1, max_size=25)
Expected = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def cluster(**changes: Any) -> NodeSettings:
    return ClusterSettings(cluster_cidrs=CLUSTER, **changes).parse()


def kept_cidrs(by_age: Iterable[NodeInfo], problems: set[tuple[str, str]]) -> dict[str, list[Any]]:
    """The pod CIDRs that each Node keeps: those that overlap none that an older one keeps."""
    wholes: list[Any] = [ip_network(whole) for whole in CLUSTER]
    held: list[Any] = []
    cidrs: dict[str, list[Any]] = {}
    for info in by_age:
        cidrs[info.name] = []
        for text in info.pod_cidrs:
            try:
                network: Any = ip_network(text)
            except ValueError:
                problems.add((info.name, "PodCIDRInvalid"))
                continue
            if not any(network.version == whole.version and network.subnet_of(whole) for whole in wholes):
                problems.add((info.name, "PodCIDROutsideCluster"))
            elif any(network.overlaps(other) for other in held):
                problems.add((info.name, "PodCIDRConflict"))
            else:
                held.append(network)
                cidrs[info.name].append(network)
        if not info.pod_cidrs:
            problems.add((info.name, "PodCIDRNotAssigned"))
    return cidrs


def good_addresses(info: NodeInfo, problems: set[tuple[str, str]]) -> list[Any]:
    """A Node's addresses; none if one of them is wrong."""
    try:
        addresses = [ip_address(text) for text in info.addresses]
    except ValueError:
        addresses = []
    families = {address.version for address in addresses}
    if not info.addresses:
        problems.add((info.name, "AddressMissing"))
    elif len(families) < len(info.addresses) or any(address.is_loopback for address in addresses):
        problems.add((info.name, "NodeRefused"))
        return []
    return addresses


def evaluated(known: Mapping[str, NodeInfo], own: NodeSettings | None) -> tuple[Expected, set[tuple[str, str]]]:
    """Peers as texts, and problems as (node, reason): all Nodes are looked at, the oldest first."""
    problems = {(OWN, "NodeMissing")} if OWN not in known else set()
    by_age = sorted(known.values(), key=lambda info: (info.created, info.name))
    cidrs = kept_cidrs(by_age, problems)
    peers: Expected = {}
    taken: set[Any] = set()
    for info in by_age:
        addresses = good_addresses(info, problems)
        if info.name == OWN or not cidrs[info.name] or not addresses:
            continue
        lost = not taken.isdisjoint(addresses)
        taken |= set() if lost else set(addresses)
        usable = [network for network in cidrs[info.name] if not own or not any(map(network.overlaps, own.pod_cidrs))]
        if len(usable) < len(cidrs[info.name]):
            problems.add((info.name, "PodCIDRConflict"))
        if not usable:
            continue
        if lost or (own and not set(own.addresses).isdisjoint(addresses)):
            problems.add((info.name, "AddressConflict"))
            continue
        peers[info.name] = (tuple(map(str, addresses)), tuple(map(str, usable)))
    return peers, problems


def as_texts(peers: Mapping[str, Peer]) -> Expected:
    return {name: (tuple(map(str, peer.addresses)), tuple(map(str, peer.pod_cidrs))) for name, peer in peers.items()}


def reasons(table: NodeTable) -> set[tuple[str, str]]:
    return {(problem.node, problem.reason) for found in table.problems.values() for problem in found}


def info_of(name: str, state: tuple[str, tuple[str, ...], tuple[str, ...]]) -> NodeInfo:
    created, addresses, cidrs = state
    return NodeInfo(name, created, addresses, cidrs)


@settings(max_examples=400)
@given(updates, st.randoms())
def test_updates_one_by_one_give_what_a_simple_evaluator_gives(
    changes: list[tuple[str, Any]], shuffled: random.Random
) -> None:
    assert changes
    table, known = NodeTable(OWN, cluster()), dict[str, NodeInfo]()
    peers: dict[str, Peer] = {}
    problems = {OWN: table.problems[OWN]}
    for name, state in changes:
        info = info_of(name, state) if state else None
        if info:
            known[name] = info
        else:
            known.pop(name, None)
        delta = table.update(name, info)
        expected = evaluated(known, table.own)
        assert (as_texts(table.peers), reasons(table)) == expected
        peers = {key: peer for key, peer in {**peers, **delta.upserted}.items() if key not in delta.removed}
        problems = {key: found for key, found in {**problems, **delta.problems}.items() if found}
        assert peers == table.peers and problems == table.problems, "the deltas say all that changed"
    again = list(known.items())
    shuffled.shuffle(again)
    again.sort(key=lambda item: item[0] == OWN)
    fresh = NodeTable(OWN, cluster(), table.own)
    for name, info in again:
        fresh.update(name, info)
    assert fresh.peers == table.peers and fresh.own == table.own
    assert {name: set(found) for name, found in fresh.problems.items()} == {
        name: set(found) for name, found in table.problems.items()
    }, "the order of arrival does not matter, the texts of problems included"


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.none() | infos), min_size=2, max_size=10))
def test_deltas_that_are_added_up_say_what_all_of_them_say(changes: list[tuple[str, Any]]) -> None:
    table, whole = NodeTable(OWN, cluster()), Delta()
    for name, state in changes:
        whole.add(table.update(name, info_of(name, state) if state else None))
    assert whole.upserted == table.peers and whole.removed.isdisjoint(table.peers)
    assert whole.settings == table.own
    assert {name: found for name, found in whole.problems.items() if found} == {
        name: found for name, found in table.problems.items() if name in whole.problems
    }


def large(count: int) -> list[NodeInfo]:
    """Nodes with disjoint pod CIDRs of both families; the first is this one."""
    return [
        NodeInfo(
            OWN if number == 0 else f"node-{number}",
            f"2026-01-01T00:00:{number % 60:02}Z",
            (f"172.16.{number >> 8}.{number & 255}", f"fd00:1::{number:x}"),
            (f"10.{64 + (number >> 8)}.{number & 255}.0/24", f"fd00:2:0:{number:x}::/64"),
        )
        for number in range(count)
    ]


def filled(known: Iterable[NodeInfo]) -> NodeTable:
    wide = ClusterSettings(cluster_cidrs=("10.64.0.0/10", "fd00:2::/32")).parse()
    table = NodeTable(OWN, wide)
    for info in known:
        table.update(info.name, info)
    return table


def test_one_changed_node_costs_one_nodes_work(monkeypatch: pytest.MonkeyPatch) -> None:
    known = large(1000)
    table = filled(known)
    assert len(table.peers) == 999 and not table.problems
    counts = {"parsed": 0, "decided": 0, "built": 0}

    def counted(name: str, real: Any) -> Any:
        def call(*arguments: Any) -> Any:
            counts[name] += 1
            return real(*arguments)

        return call

    monkeypatch.setattr(nodes, "ip_network", counted("parsed", ip_network))
    monkeypatch.setattr(claims, "heappop", counted("decided", heappop))
    monkeypatch.setattr(NodeTable, "_update_peer", counted("built", NodeTable._update_peer))
    moved = NodeInfo("node-500", known[500].created, ("172.31.0.1",), known[500].pod_cidrs)
    delta = table.update("node-500", moved)
    assert set(delta.upserted) == {"node-500"} and not delta.removed and not delta.problems
    assert counts == {"parsed": 2, "decided": 3, "built": 1}, "its two pod CIDRs and its addresses"


def test_a_conflict_costs_the_work_of_the_nodes_that_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = large(1000)
    table = filled(known)
    built: list[str] = []
    real = NodeTable._update_peer

    def update_peer(self: NodeTable, name: str, delta: Delta) -> None:
        built.append(name)
        real(self, name, delta)

    monkeypatch.setattr(NodeTable, "_update_peer", update_peer)
    twin = NodeInfo("twin", "2025", known[7].addresses[:1], known[500].pod_cidrs[:1])
    delta = table.update("twin", twin)
    assert set(built) == {"twin", "node-7", "node-500"}
    assert set(delta.upserted) == {"twin", "node-500"} and delta.removed == {"node-7"}
    built.clear()
    delta = table.update("twin", None)
    assert set(built) == {"twin", "node-7", "node-500"} and delta.removed == {"twin"}
    assert table.peers == filled(known).peers


def test_one_of_5000_nodes_takes_a_small_part_of_all() -> None:
    known = large(5000)
    began = time.perf_counter()
    table = filled(known)
    whole = time.perf_counter() - began
    took = []
    for number in range(1, 100):
        info = known[number * 50]
        moved = NodeInfo(info.name, info.created, (f"172.31.0.{number}",), info.pod_cidrs)
        began = time.perf_counter()
        table.update(info.name, moved)
        took.append(time.perf_counter() - began)
    one = sorted(took)[len(took) // 2]
    print(f"5,000 Nodes: {whole * 1000:.0f} ms, one of them: {one * 1e6:.0f} µs")  # noqa: T201
    assert one < whole / 500, "ten times what a 5,000th part is"
