# SPDX-License-Identifier: Apache-2.0
"""The probes of a check with their expected source addresses, and the parsing of endpoints."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from podwire.diagnose.endpoints import Endpoint, EndpointError, check_endpoints, parse_target, parse_topology
from podwire.diagnose.plan import METHODS, Probe, plan, verdict
from podwire.ip import Address


def addresses(*texts: str) -> tuple[Address, ...]:
    return tuple(ip_address(text) for text in texts)


HOST_A = Endpoint("a", "host", "a", addresses("192.0.2.1", "10.1.0.1"), "/a", own=addresses("192.0.2.1", "192.0.2.9"))
HOST_B = Endpoint("b", "host", "b", addresses("192.0.2.2"), "/b")
POD_A = Endpoint("pa", "pod", "a", addresses("10.1.0.5", "fd00::5"), "/pa")
POD_B = Endpoint("pb", "pod", "b", addresses("10.2.0.5", "fd00:1::5"), "/pb")
INTERNET = Endpoint("net", "outside", "", addresses("198.51.100.1"), "/net")
BARE = Endpoint("bare", "outside", "", addresses("198.51.100.2"), tcp_port=443)
ALL = (HOST_A, HOST_B, POD_A, POD_B, INTERNET, BARE)


def between(source: str, target: str, family: int = 4) -> dict[tuple[str, str], Probe]:
    return {
        (str(probe.address), probe.method): probe
        for probe in plan(ALL)
        if (probe.source, probe.target, probe.family) == (source, target, family)
    }


def test_pods_are_called_in_every_family_by_every_method() -> None:
    assert set(between("pa", "pb")) == {("10.2.0.5", method) for method in METHODS}
    assert set(between("pa", "pb", 6)) == {("fd00:1::5", method) for method in METHODS}
    assert not between("pa", "pa")


def test_only_families_that_both_have_are_probed() -> None:
    assert not between("pa", "b", 6)
    assert {probe.family for probe in plan(ALL, families=(6,))} == {6}


def test_the_own_host_is_called_by_all_its_addresses_and_other_hosts_by_the_first() -> None:
    assert {address for address, _ in between("pa", "a")} == {"192.0.2.1", "10.1.0.1"}
    assert {address for address, _ in between("pb", "a")} == {"192.0.2.1"}


@pytest.mark.parametrize(
    ("target", "address", "sources"),
    [
        ("pb", "10.2.0.5", {"10.1.0.5"}),
        ("a", "10.1.0.1", {"10.1.0.5"}),
        ("b", "192.0.2.2", {"10.1.0.5", "192.0.2.1", "192.0.2.9", "10.1.0.1"}),
        ("net", "198.51.100.1", {"192.0.2.1", "192.0.2.9", "10.1.0.1"}),
    ],
)
def test_the_source_is_the_pods_inside_and_the_nodes_outside(target: str, address: str, sources: set[str]) -> None:
    for method in ("tcp", "udp"):
        assert {str(source) for source in between("pa", target)[address, method].sources} == sources
    assert not between("pa", target)[address, "ping"].sources


def test_an_endpoint_without_a_namespace_is_called_by_ping_and_its_own_port() -> None:
    assert {method for _, method in between("pa", "bare")} == {"ping", "mtu", "tcp"}
    assert not between("pa", "bare")["198.51.100.2", "tcp"].sources


def test_many_pods_call_some_of_each_other() -> None:
    pods = [Endpoint(f"p{number}", "pod", "a", addresses(f"10.1.0.{number + 2}"), "/p") for number in range(40)]
    probes = plan([HOST_A, *pods], most_pods=5)
    for source in pods:
        called = {probe.target for probe in probes if probe.source == source.name}
        assert len(called) == 6 and source.name not in called and "a" in called
    assert {probe.target for probe in probes} == {"a", *(pod.name for pod in pods)}, "each pod is called"
    assert len(plan([HOST_A, *pods])) == 40 * (39 + 2) * 4


def test_a_wrong_source_is_a_failure_with_words() -> None:
    probe = between("pa", "pb")["10.2.0.5", "tcp"]
    assert verdict(probe, 0.001, ip_address("10.1.0.5")).ok
    wrong = verdict(probe, 0.001, ip_address("192.0.2.1"))
    assert wrong.status == "source" and wrong.failed
    assert wrong.words == "seen as 192.0.2.1 instead of the pod's own address"


def test_a_topology_is_read() -> None:
    text = b"""{"endpoints": [
      {"name": "n", "kind": "host", "addresses": ["192.0.2.1"]},
      {"name": "p", "kind": "pod", "node": "n", "pid": 42},
      {"name": "o", "kind": "outside", "addresses": ["2001:db8::1"], "tcp_port": 53}]}"""
    host, pod, outside = parse_topology(text)
    assert (host.node, host.netns) == ("n", "") and pod.netns == "/proc/42/ns/net"
    assert outside.tcp_port == 53 and outside.of_family(6)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"name": "p", "kind": "pod", "node": "n", "netns": "/x", "pid": 1}', "netns and pid"),
        ('{"name": "p", "kind": "pod", "netns": "/x"}', "its node is missing"),
        ('{"name": "p", "kind": "pod", "node": "n"}', "neither addresses nor a namespace"),
        ('{"name": "p", "kind": "pod", "node": "n", "addresses": ["fe80::1"]}', "unicast"),
        ('{"name": "", "kind": "pod", "node": "n", "netns": "/x"}', "a name that no other endpoint has"),
        ('{"name": "o", "kind": "outside", "addresses": ["192.0.2.1"]}', "no pod to check from"),
        ('{"name": "o", "kind": "outside", "addresses": ["192.0.2.1"], "tcp_port": 70000}', "out of range"),
        ('{"name": 1, "kind": "pod"}', "str"),
    ],
)
def test_a_wrong_topology_is_refused_in_one_line(row: str, words: str) -> None:
    with pytest.raises(EndpointError) as refused:
        parse_topology(f'{{"endpoints": [{row}]}}'.encode())
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_name_that_is_used_twice_is_refused() -> None:
    with pytest.raises(EndpointError, match="a name that no other endpoint has"):
        check_endpoints([POD_A, POD_A])


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 0),
        ("192.0.2.1:443", "192.0.2.1", 443),
        ("2001:db8::1", "2001:db8::1", 0),
        ("[2001:db8::1]:80", "2001:db8::1", 80),
    ],
)
def test_targets_are_addresses_with_or_without_a_port(text: str, address: str, port: int) -> None:
    found = parse_target(text)
    assert (str(found.addresses[0]), found.tcp_port, found.kind) == (address, port, "outside")
