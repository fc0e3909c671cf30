"""From Kubernetes' objects to settings: what is read of them, what counts, and what is told of bad ones."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from podwire.kube.informer import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS, wait_seconds
from podwire.kube.nodes import Problem, Wanted, same_addresses, wanted
from podwire.kube.objects import Node, NodeInfo, NodeList, network_is_up, node_info
from podwire.kube.reporter import event, event_name
from podwire.kube.settings import Common, load_common
from podwire.node.old_settings_file import SettingsFileError

NODE = b"""{"metadata": {"name": "worker-1", "uid": "u", "resourceVersion": "7",
 "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}, "managedFields": [{"x": 1}]},
 "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"], "taints": []},
 "status": {"addresses": [{"type": "Hostname", "address": "worker-1"}, {"type": "ExternalIP", "address": "203.0.113.1"},
 {"type": "InternalIP", "address": "192.168.33.11"}, {"type": "InternalIP", "address": "192.168.34.11"},
 {"type": "InternalIP", "address": "fd00::11"}],
 "conditions": [{"type": "NetworkUnavailable", "status": "False", "reason": "PodwireIsUp", "message": "m"}],
 "images": [{"names": ["one"], "sizeBytes": 1}]}}"""


def known(*several: tuple[str, str, str], born: str = "2026-01-01T00:00:00Z") -> dict[str, NodeInfo]:
    """Nodes by name: name, addresses, ranges."""
    return {
        name: NodeInfo(name, born, tuple(addresses.split()), tuple(ranges.split()))
        for name, addresses, ranges in several
    }


OWN = ("own", "192.168.33.10", "10.244.0.0/24")


def found(infos: dict[str, NodeInfo], before: NodeInfo | None = None, **common: object) -> Wanted:
    return wanted(infos, "own", Common(**common), None, before)  # type: ignore[arg-type]


def reasons(what: Wanted) -> set[tuple[str, str]]:
    return {(one.node, one.reason) for one in what.problems}


def test_of_a_node_only_what_is_needed_is_decoded() -> None:
    node = msgspec.json.decode(NODE, type=Node)
    assert node_info(node) == NodeInfo(
        "worker-1",
        "2026-01-01T00:00:00Z",
        ("192.168.33.11", "fd00::11"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
    )
    assert network_is_up(node, "PodwireIsUp") and not network_is_up(node, "Other")


def test_a_new_node_has_neither_spec_nor_status() -> None:
    page = msgspec.json.decode(
        b'{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a"}}]}', type=NodeList
    )
    assert node_info(page.items[0]) == NodeInfo("a", "", (), ()) and not network_is_up(page.items[0], "PodwireIsUp")
    nothing = (
        b'{"metadata":{"name":"a","creationTimestamp":"t"},"spec":{},"status":{"addresses":null,"conditions":null}}'
    )
    assert node_info(msgspec.json.decode(nothing, type=Node)) == NodeInfo("a", "t", (), ())


def test_nodes_become_peers() -> None:
    what = found(known(OWN, ("b", "192.168.33.11", "10.244.1.0/24"), ("c", "10.9.9.9", "10.244.2.0/24")))
    assert what.settings is not None and not what.problems
    assert set(what.settings.peers) == {"b", "c"} and str(what.settings.pod_ranges[0]) == "10.244.0.0/24"


def test_peers_that_did_not_change_are_not_parsed_again() -> None:
    infos = known(OWN, ("b", "192.168.33.11", "10.244.1.0/24"))
    first = found(infos)
    second = wanted({**infos, **known(("c", "192.168.33.12", "10.244.2.0/24"))}, "own", Common(), first.known)
    assert first.settings and second.settings
    assert second.settings.peers["b"] is first.settings.peers["b"]


@pytest.mark.parametrize(
    ("addresses", "ranges", "reason", "hint"),
    [
        ("192.168.33.11", "", "PodCIDRNotAssigned", "--pod-network-cidr"),
        ("", "10.244.1.0/24", "AddressMissing", "InternalIP"),
        ("192.168.33.11", "10.99.1.0/24", "PodRangeOutsideCluster", "cluster_ranges"),
        ("192.168.33.11", "fd00::/64", "PodRangeOutsideCluster", "cluster_ranges"),
        ("192.168.33.11", "10.244.1.7/24", "PodRangeWrong", "not an address range"),
        ("not-an-address", "10.244.1.0/24", "NodeRefused", "not an IP address"),
    ],
)
def test_a_bad_peer_is_a_problem_and_the_others_go_on(addresses: str, ranges: str, reason: str, hint: str) -> None:
    what = found(known(OWN, ("bad", addresses, ranges), ("good", "192.168.33.12", "10.244.2.0/24")))
    assert what.settings is not None and set(what.settings.peers) == {"good"}
    assert reasons(what) == {("bad", reason)} and hint in what.problems[0].words


def test_of_two_nodes_with_one_range_the_older_keeps_it() -> None:
    old = known(("z-old", "192.168.33.11", "10.244.1.0/24"), born="2025-01-01T00:00:00Z")
    new = known(("a-new", "192.168.33.12", "10.244.1.0/24"))
    for infos in ({**known(OWN), **old, **new}, {**new, **old, **known(OWN)}):
        what = found(infos)
        assert what.settings is not None and set(what.settings.peers) == {"z-old"}
        assert reasons(what) == {("a-new", "PodRangeTaken")} and "z-old" in what.problems[0].words


def test_a_wide_range_does_not_hide_an_older_narrow_one() -> None:
    wide = known(("wide", "192.168.33.11", "10.244.0.0/20"))
    narrow = known(("n1", "192.168.33.12", "10.244.2.0/24"), ("n2", "192.168.33.13", "10.244.3.0/24"), born="2025")
    what = found({**known(OWN, born="2024"), **wide, **narrow})
    assert what.settings is not None and set(what.settings.peers) == {"n1", "n2"}
    assert {one.node for one in what.problems} == {"wide"}


def test_one_bad_family_leaves_the_other() -> None:
    what = found(known(OWN, ("b", "192.168.33.11", "10.244.1.0/24 fd00:99::/64")))
    assert what.settings is not None and [str(one) for one in what.settings.peers["b"].pod_ranges] == ["10.244.1.0/24"]
    assert reasons(what) == {("b", "PodRangeOutsideCluster")}


def test_without_a_range_of_its_own_there_are_no_settings() -> None:
    what = found(known(("own", "192.168.33.10", ""), ("b", "192.168.33.11", "10.244.1.0/24")))
    assert what.settings is None and reasons(what) == {("own", "PodCIDRNotAssigned")}
    nobody = found(known(("b", "192.168.33.11", "10.244.1.0/24")))
    assert nobody.settings is None and "--node-name" in nobody.problems[0].words


def test_a_node_that_was_good_once_keeps_its_part_and_follows_its_peers() -> None:
    first = found(known(OWN))
    assert first.own is not None
    what = found(known(("own", "192.168.33.10", ""), ("b", "192.168.33.11", "10.244.1.0/24")), first.own)
    assert what.settings is not None and str(what.settings.pod_ranges[0]) == "10.244.0.0/24"
    assert set(what.settings.peers) == {"b"} and reasons(what) == {("own", "PodCIDRNotAssigned")}


def test_an_address_spelled_otherwise_is_no_other_address() -> None:
    one, two = NodeInfo("a", "", ("fd00::1",), ()), NodeInfo("a", "", ("fd00:0::1",), ())
    assert same_addresses(one, two) and not same_addresses(one, NodeInfo("a", "", ("fd00::2",), ()))


def test_the_common_file_is_checked_at_the_start(tmp_path: Path) -> None:
    assert load_common(None).cluster_ranges == ("10.244.0.0/16",)
    file = tmp_path / "podwire.toml"
    file.write_text('cluster_ranges = ["10.244.0.0/16", "fd00:10:244::/48"]\n[tunnel]\nport = 8472\n')
    assert load_common(file).tunnel.port == 8472
    for text, words in (
        ('mode = "flying"', "mode"),
        ('name = "a"', "unknown key `name`"),
        ("mtu = 3", "1280"),
        ('cluster_ranges = ["x"]', "not an address range"),
    ):
        file.write_text(text + "\n")
        with pytest.raises(SettingsFileError, match=words):
            load_common(file)


def test_all_agents_give_one_event_one_name() -> None:
    problem = Problem("worker-1", "PodCIDRNotAssigned", "has no podCIDR")
    assert event_name(problem) == event_name(Problem("worker-1", "PodCIDRNotAssigned", "has no podCIDR"))
    assert event_name(problem) != event_name(Problem("worker-1", "PodCIDRNotAssigned", "other"))
    made = event(problem, event_name(problem), "worker-2", "2026-01-01T00:00:00Z")
    assert made["involvedObject"]["name"] == "worker-1" and made["source"]["host"] == "worker-2"


def test_waits_grow_to_a_limit_and_are_never_the_same_for_all() -> None:
    assert all(FIRST_WAIT_SECONDS / 2 <= wait_seconds(1) <= FIRST_WAIT_SECONDS for _ in range(20))
    late = {wait_seconds(50) for _ in range(20)}
    assert len(late) > 1 and all(LONGEST_WAIT_SECONDS / 2 <= one <= LONGEST_WAIT_SECONDS for one in late)
