# SPDX-License-Identifier: Apache-2.0
"""From Kubernetes objects to settings: which fields are read, which Nodes count, and the problems of bad ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from podwire.kube.informer import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, wait_seconds
from podwire.kube.nodes import NodeTable
from podwire.kube.objects import Node, NodeInfo, ObjectPage, node_info
from podwire.kube.settings import ClusterSettings, load_cluster_settings
from podwire.node.settings import NodeSettings, SettingsFileError, TunnelSettings
from podwire.observe.events import Problem, event_name, node_event

NODE = b"""{"metadata": {"name": "worker-1", "uid": "u", "resourceVersion": "7",
 "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}, "managedFields": [{"x": 1}]},
 "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"], "taints": []},
 "status": {"addresses": [{"type": "Hostname", "address": "worker-1"}, {"type": "ExternalIP", "address": "203.0.113.1"},
 {"type": "InternalIP", "address": "192.168.33.11"}, {"type": "InternalIP", "address": "192.168.34.11"},
 {"type": "InternalIP", "address": "fd00::11"}],
 "conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "PodwireIsUp", "message": "m"}],
 "images": [{"names": ["one"], "sizeBytes": 1}]}}"""


def known(*several: tuple[str, str, str], created: str = "2026-01-01T00:00:00Z") -> dict[str, NodeInfo]:
    """Nodes by name: name, addresses, pod CIDRs."""
    return {
        name: NodeInfo(name, created, tuple(addresses.split()), tuple(cidrs.split()))
        for name, addresses, cidrs in several
    }


OWN = ("own", "192.168.33.10", "10.244.0.0/24")


def table_of(infos: dict[str, NodeInfo], own: NodeSettings | None = None, **cluster: object) -> NodeTable:
    table = NodeTable("own", ClusterSettings(**cluster).parse(), own)  # type: ignore[arg-type]
    for name, info in infos.items():
        table.update(name, info)
    return table


def problems(table: NodeTable) -> list[Problem]:
    return [problem for found in table.problems.values() for problem in found]


def reasons(table: NodeTable) -> set[tuple[str, str]]:
    return {(problem.node, problem.reason) for problem in problems(table)}


def test_of_a_node_only_what_is_needed_is_decoded() -> None:
    info = node_info(msgspec.json.decode(NODE, type=Node))
    assert info == NodeInfo(
        "worker-1",
        "2026-01-01T00:00:00Z",
        ("192.168.33.11", "fd00::11"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
        network_up=True,
    )
    other = NODE.replace(b"PodwireIsUp", b"Other")
    assert not node_info(msgspec.json.decode(other, type=Node)).network_up


def test_a_new_node_has_neither_spec_nor_status() -> None:
    page = msgspec.json.decode(
        b'{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a"}}]}', type=ObjectPage[Node]
    )
    assert page.items is not None and node_info(page.items[0]) == NodeInfo("a", "", (), ())
    nothing = (
        b'{"metadata":{"name":"a","creationTimestamp":"t"},"spec":{},"status":{"addresses":null,"conditions":null}}'
    )
    assert node_info(msgspec.json.decode(nothing, type=Node)) == NodeInfo("a", "t", (), ())


def test_nodes_become_peers() -> None:
    table = table_of(known(OWN, ("b", "192.168.33.11", "10.244.1.0/24"), ("c", "10.9.9.9", "10.244.2.0/24")))
    assert table.own is not None and not problems(table)
    assert set(table.peers) == {"b", "c"} and str(table.own.pod_cidrs[0]) == "10.244.0.0/24"


def test_peers_that_did_not_change_stay_the_same_objects() -> None:
    table = table_of(known(OWN, ("b", "192.168.33.11", "10.244.1.0/24")))
    before = table.peers["b"]
    delta = table.update("c", known(("c", "192.168.33.12", "10.244.2.0/24"))["c"])
    assert set(delta.upserted) == {"c"} and table.peers["b"] is before


@pytest.mark.parametrize(
    ("addresses", "cidrs", "reason", "hint"),
    [
        ("192.168.33.11", "", "PodCIDRNotAssigned", "--pod-network-cidr"),
        ("", "10.244.1.0/24", "AddressMissing", "InternalIP"),
        ("192.168.33.11", "10.99.1.0/24", "PodCIDROutsideCluster", "cluster_cidrs"),
        ("192.168.33.11", "fd00::/64", "PodCIDROutsideCluster", "cluster_cidrs"),
        ("192.168.33.11", "10.244.1.7/24", "PodCIDRInvalid", "not a CIDR"),
        ("not-an-address", "10.244.1.0/24", "NodeRefused", "not an IP address"),
        ("192.168.33.10", "10.244.1.0/24", "AddressConflict", "an InternalIP of own"),
    ],
)
def test_a_bad_peer_is_a_problem_and_the_others_go_on(addresses: str, cidrs: str, reason: str, hint: str) -> None:
    table = table_of(known(OWN, ("bad", addresses, cidrs), ("good", "192.168.33.12", "10.244.2.0/24")))
    assert table.own is not None and set(table.peers) == {"good"}
    assert reasons(table) == {("bad", reason)} and hint in problems(table)[0].message


def test_of_two_nodes_with_one_pod_cidr_the_older_keeps_it() -> None:
    old = known(("z-old", "192.168.33.11", "10.244.1.0/24"), created="2025-01-01T00:00:00Z")
    new = known(("a-new", "192.168.33.12", "10.244.1.0/24"))
    for infos in ({**known(OWN), **old, **new}, {**new, **old, **known(OWN)}):
        table = table_of(infos)
        assert table.own is not None and set(table.peers) == {"z-old"}
        assert reasons(table) == {("a-new", "PodCIDRConflict")} and "z-old" in problems(table)[0].message


def test_of_two_nodes_with_one_address_the_older_keeps_it() -> None:
    old = known(("z-old", "192.168.33.11", "10.244.1.0/24"), created="2025-01-01T00:00:00Z")
    new = known(("a-new", "192.168.33.11", "10.244.2.0/24"))
    for infos in ({**known(OWN), **old, **new}, {**new, **old, **known(OWN)}):
        table = table_of(infos)
        assert set(table.peers) == {"z-old"} and reasons(table) == {("a-new", "AddressConflict")}
        assert "192.168.33.11 is an InternalIP of the older Node z-old" in problems(table)[0].message
    table.update("z-old", None)
    assert set(table.peers) == {"a-new"} and not problems(table)


def test_a_wide_pod_cidr_does_not_hide_an_older_narrow_one() -> None:
    wide = known(("wide", "192.168.33.11", "10.244.0.0/20"))
    narrow = known(("n1", "192.168.33.12", "10.244.2.0/24"), ("n2", "192.168.33.13", "10.244.3.0/24"), created="2025")
    table = table_of({**known(OWN, created="2024"), **wide, **narrow})
    assert set(table.peers) == {"n1", "n2"}
    assert {problem.node for problem in problems(table)} == {"wide"}


def test_one_bad_family_leaves_the_other() -> None:
    table = table_of(known(OWN, ("b", "192.168.33.11", "10.244.1.0/24 fd00:99::/64")))
    assert [str(cidr) for cidr in table.peers["b"].pod_cidrs] == ["10.244.1.0/24"]
    assert reasons(table) == {("b", "PodCIDROutsideCluster")}


def test_without_a_tunnel_a_pod_cidr_needs_an_address_of_its_family() -> None:
    infos = known(OWN, ("b", "192.168.33.11", "10.244.1.0/24 fd00:10:244:1::/64"))
    cidrs = ("10.244.0.0/16", "fd00:10:244::/48")
    assert len(table_of(infos, cluster_cidrs=cidrs).peers["b"].pod_cidrs) == 2
    table = table_of(infos, cluster_cidrs=cidrs, tunnel=TunnelSettings(when="never"))
    assert [str(cidr) for cidr in table.peers["b"].pod_cidrs] == ["10.244.1.0/24"]
    assert reasons(table) == {("b", "AddressMissing")} and "IPv6 InternalIP" in problems(table)[0].message


def test_without_a_pod_cidr_of_its_own_there_are_no_settings() -> None:
    table = table_of(known(("own", "192.168.33.10", ""), ("b", "192.168.33.11", "10.244.1.0/24")))
    assert table.own is None and reasons(table) == {("own", "PodCIDRNotAssigned")}
    alone = table_of(known(("b", "192.168.33.11", "10.244.1.0/24")))
    assert alone.own is None and "--node-name" in problems(alone)[0].message


def test_a_node_that_was_good_once_keeps_its_part_and_follows_its_peers() -> None:
    table = table_of(known(OWN))
    delta = table.update("own", known(("own", "192.168.33.10", ""))["own"])
    assert delta.settings is None and table.own is not None and str(table.own.pod_cidrs[0]) == "10.244.0.0/24"
    table.update("b", known(("b", "192.168.33.11", "10.244.1.0/24"))["b"])
    assert set(table.peers) == {"b"} and reasons(table) == {("own", "PodCIDRNotAssigned")}
    table.update("own", None)
    table.update("thief", known(("thief", "192.168.33.12", "10.244.0.0/24"))["thief"])
    assert set(table.peers) == {"b"} and reasons(table) == {("own", "NodeMissing"), ("thief", "PodCIDRConflict")}


def test_a_new_table_keeps_this_nodes_part_if_the_cluster_still_has_it() -> None:
    own = table_of(known(OWN)).own
    kept = table_of({}, own, mtu=1400).own
    assert kept is not None and own is not None and kept.pod_cidrs == own.pod_cidrs and kept.mtu == 1400
    assert table_of({}, own, cluster_cidrs=("10.99.0.0/16",)).own is None


def test_an_address_spelled_otherwise_is_no_other_address() -> None:
    table = table_of(known(("a", "fd00::1", "10.244.1.0/24")))
    before, peer = table.addresses("a"), table.peers["a"]
    delta = table.update("a", known(("a", "fd00:0::1", "10.244.1.0/24"))["a"])
    assert table.addresses("a") == before and table.peers["a"] is peer and not delta.upserted


def test_the_file_of_the_cluster_is_checked_at_the_start(tmp_path: Path) -> None:
    assert [str(cidr) for cidr in load_cluster_settings(None).cluster_cidrs] == ["10.244.0.0/16"]
    file = tmp_path / "podwire.toml"
    file.write_text('cluster_cidrs = ["10.244.0.0/16", "fd00:10:244::/48"]\n[tunnel]\nport = 8472\n')
    assert load_cluster_settings(file).tunnel.port == 8472
    for text, words in (
        ('mode = "flying"', "mode"),
        ('name = "a"', "unknown key `name`"),
        ("mtu = 3", "1280"),
        ('cluster_cidrs = ["x"]', "not a CIDR"),
    ):
        file.write_text(text + "\n")
        with pytest.raises(SettingsFileError, match=words):
            load_cluster_settings(file)


def test_the_old_name_of_a_key_is_accepted_and_named_as_deprecated(tmp_path: Path) -> None:
    file, said = tmp_path / "podwire.toml", list[str]()
    file.write_text('cluster_ranges = ["10.99.0.0/16"]\n')
    assert [str(cidr) for cidr in load_cluster_settings(file, said.append).cluster_cidrs] == ["10.99.0.0/16"]
    assert len(said) == 1 and "cluster_ranges is deprecated" in said[0] and "cluster_cidrs" in said[0]


def test_all_agents_give_one_event_one_name() -> None:
    problem = Problem("worker-1", "PodCIDRNotAssigned", "has no podCIDR")
    assert event_name(problem) == event_name(Problem("worker-1", "PodCIDRNotAssigned", "has no podCIDR"))
    assert event_name(problem) != event_name(Problem("worker-1", "PodCIDRNotAssigned", "other"))
    made = node_event(problem, "worker-2", "2026-01-01T00:00:00Z")
    assert made["metadata"]["name"] == event_name(problem)
    assert made["involvedObject"]["name"] == "worker-1" and made["source"]["host"] == "worker-2"


def test_waits_grow_to_a_limit_and_are_never_the_same_for_all() -> None:
    assert all(FIRST_WAIT_SECONDS / 2 <= wait_seconds(1) <= FIRST_WAIT_SECONDS for _ in range(20))
    late = {wait_seconds(50) for _ in range(20)}
    assert len(late) > 1 and all(LONGEST_WAIT_SECONDS / 2 <= seconds <= LONGEST_WAIT_SECONDS for seconds in late)
