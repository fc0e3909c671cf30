# SPDX-License-Identifier: Apache-2.0
"""Lines 16 to 20: what ADD makes, what it refuses, what it undoes."""

from __future__ import annotations

import ipaddress
import threading
from typing import Any

import pytest

from tests.conformance.node import Node, strange_link
from tests.conformance.rules import at_least, result_complaints
from tests.conformance.subject import Subject
from tests.support.plugin import Outcome
from tests.support.snapshot import snapshot


@pytest.mark.line(17)
@pytest.mark.cells("all")
def test_add_makes_what_it_tells(node: Node) -> None:
    """Line 17: interface, MAC, addresses, default route are as the result says; the gateway answers."""
    attachment = node.added()
    link = attachment.pod.link("eth0")
    assert link
    assert {"UP", "LOWER_UP"} <= set(link["flags"])
    assert link["address"] == attachment.inside["mac"]
    assert sorted(attachment.pod.addresses("eth0")) == sorted(attachment.cidrs)
    assert attachment.result["ips"]
    for entry, network in zip(attachment.result["ips"], node.subject.networks, strict=True):
        assert ipaddress.ip_interface(entry["address"]).ip in network
        assert entry["gateway"] == str(network[1])
        assert "default" in [route["dst"] for route in attachment.pod.routes(network.version)]
        assert attachment.pod.pings(entry["gateway"])
        assert node.host.pings(str(ipaddress.ip_interface(entry["address"]).ip))


@pytest.mark.line(17)
@pytest.mark.cells("datapaths")
def test_interfaces_of_the_result_exist(node: Node) -> None:
    """Line 17: each interface that the result lists is there with that MAC, on the host or in the sandbox."""
    attachment = node.added()
    assert attachment.result["interfaces"]
    for interface in attachment.result["interfaces"]:
        namespace = attachment.pod if interface.get("sandbox") else node.host
        assert namespace.links()[interface["name"]]["address"] == interface["mac"]


@pytest.mark.line("reach")
@pytest.mark.cells("all")
def test_pods_reach_each_other(node: Node) -> None:
    """Two pods of a node reach each other in every family."""
    one, two = node.added(), node.added()
    assert not set(one.addresses) & set(two.addresses)
    assert all(one.pod.pings(address) for address in two.addresses)
    assert all(two.pod.pings(address) for address in one.addresses)


@pytest.mark.line("several")
@pytest.mark.cells("all")
def test_several_interfaces(node: Node, subject: Subject) -> None:
    """A container may have interfaces of several networks, and several of one; each goes alone."""
    first = node.added()
    second = node.added(
        pod=first.pod,
        container=first.container,
        ifname="net1",
        config=node.config(name="other", **_other_ranges(subject)),
    )
    third = node.added(
        pod=first.pod, container=first.container, ifname="net2", config=node.config(**_without_default_route(subject))
    )
    names = {"eth0", "net1", "net2"}
    assert names <= set(first.pod.links())
    assert len({*first.addresses, *second.addresses, *third.addresses}) == 3 * len(subject.families)
    node.silent(node.delete(second))
    assert set(first.pod.links()) & names == {"eth0", "net2"}
    node.silent(node.check(first))
    assert node.host.pings(first.addresses[0])


def _other_ranges(subject: Subject) -> dict[str, Any]:
    others = ["10.33.0.0/24" if family == 4 else "fd00:33::/64" for family in subject.families]
    if subject.is_podwire:
        return {"subnet": ",".join(others), "bridge": "cni1"}
    ipam = {**subject.config["ipam"], "ranges": [[{"subnet": other}] for other in others], "routes": []}
    return {"ipam": ipam, "bridge": "cni1"}


def _without_default_route(subject: Subject) -> dict[str, Any]:
    return {} if subject.is_podwire else {"ipam": {**subject.config["ipam"], "routes": []}}


@pytest.mark.line(16)
@pytest.mark.cells("datapaths")
def test_existing_interface_is_untouched(node: Node) -> None:
    """Line 16: IFNAME that exists already is an error, and stays as it is."""
    node.added()
    pod = node.pod()
    strange_link(pod, "eth0")
    pod.run("ip", "addr", "add", "198.51.100.7/24", "dev", "eth0")
    with node.unchanged(pod):
        assert "eth0" in node.refused(node.plugin.cni_add(node.config(), "c1", pod.path))


@pytest.mark.line(16, 20)
@pytest.mark.cells("datapaths")
def test_same_attachment_again(node: Node) -> None:
    """Lines 16 and 20: a second ADD of the same attachment is an error; the first keeps all it has."""
    attachment = node.added()
    with node.unchanged(attachment.pod):
        again = node.plugin.cni_add(attachment.config, attachment.container, attachment.pod.path)
        node.refused(again, own=101, words="is attached to network pwnet already")
    node.silent(node.check(attachment))


@pytest.mark.line(20)
@pytest.mark.cells("all")
def test_same_attachment_at_once(node: Node) -> None:
    """Line 20: of several ADDs of one attachment at the same time exactly one succeeds."""
    for round_number in range(3):
        pod = node.pod()
        outcomes: list[Outcome] = []
        container = f"c{round_number}"

        def add(pod_path: Any = pod.path, container: str = container, outcomes: list[Outcome] = outcomes) -> None:
            outcomes.append(node.plugin.cni_add(node.config(), container, pod_path))

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcomes) == len(threads)
        winners = [outcome for outcome in outcomes if outcome.ok]
        assert len(winners) == 1, "\n".join(map(str, outcomes))
        assert not result_complaints(winners[0].document, node.config()["cniVersion"])
        for outcome in outcomes:
            if outcome is not winners[0]:
                node.refused(outcome, own=101, words="is attached to network pwnet already")
        node.silent(node.plugin.cni_check(node.config(prevResult=winners[0].document), container, pod.path))
        assert len(node.host_veths()) == round_number + 1


def _previous(version: str, own_version: str | None) -> dict[str, Any]:
    family = {"version": "4"} if (own_version or version) in ("0.3.0", "0.3.1", "0.4.0") else {}
    previous: dict[str, Any] = {
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/elsewhere"}],
        "ips": [{"address": "192.0.2.9/32", "interface": 0, **family}],
        "routes": [{"dst": "192.0.2.0/24", "gw": "192.0.2.1"}],
        "dns": {"nameservers": ["192.0.2.53"], "search": ["cluster.local"]},
    }
    return {"cniVersion": own_version, **previous} if own_version else previous


@pytest.mark.line(18, "versions")
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    ("version", "own_version"),
    [
        ("0.3.0", "0.3.0"),
        ("0.3.1", "0.3.1"),
        ("0.4.0", "0.4.0"),
        ("1.0.0", "1.0.0"),
        ("1.1.0", "1.1.0"),
        ("0.4.0", None),
        ("1.0.0", None),
        ("1.0.0", "0.4.0"),
        ("1.1.0", "1.0.0"),
    ],
)
def test_previous_result_is_extended(node: Node, version: str, own_version: str | None) -> None:
    """Line 18: an earlier plugin's interfaces, addresses, routes and DNS are kept in the result."""
    config = node.config(cniVersion=version, prevResult=_previous(version, own_version))
    result = node.added(config).result
    entry = next(each for each in result["ips"] if each["address"] == "192.0.2.9/32")
    assert result["interfaces"][entry["interface"]]["name"] == "lo"
    assert "192.0.2.0/24" in [route["dst"] for route in result["routes"]]
    assert result["dns"]["nameservers"] == ["192.0.2.53"]
    own = [each for each in result["ips"] if result["interfaces"][each["interface"]]["name"] == "eth0"]
    assert len(own) == len(node.subject.families)


@pytest.mark.cells("text")
@pytest.mark.line(18)
@pytest.mark.parametrize(
    "previous",
    [
        "text",
        3,
        [1],
        {"ips": 3},
        {"cniVersion": "9.9.9", "ips": []},
        {"interfaces": [{"name": 1}]},
        {"ips": [{"address": "nonsense"}]},
    ],
    ids=str,
)
def test_previous_result_that_is_none(node: Node, previous: Any) -> None:
    """Line 18: a prevResult that is no result is a clean error, and nothing is left behind."""
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(node.config(prevResult=previous), "c1", pod.path), words="prevResult")


@pytest.mark.line(19)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_a_failure_late_in_add_is_undone(node: Node) -> None:
    """Line 19: a route that the kernel refuses fails the ADD; everything done before it is undone."""
    node.added()
    pod = node.pod()
    local = {4: {"dst": "198.51.100.0/24", "gw": "127.0.0.1"}, 6: {"dst": "2001:db8:1::/64", "gw": "::1"}}
    route = local[node.subject.families[0]]
    with node.unchanged(pod):
        message = node.refused(node.plugin.cni_add(node.config(routes=[route]), "c1", pod.path))
        assert route["gw"] in message or route["dst"] in message
    assert node.added(pod=pod, container="c1").addresses


@pytest.mark.line(19)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_a_foreign_device_under_our_name(node: Node) -> None:
    """Line 19: a device with the bridge's name that is none: an error names it; a gateway device may be any."""
    name = "cni0" if node.subject.mode == "bridge" else "podwire0"
    strange_link(node.host, name)
    pod = node.pod()
    before = snapshot(pod)
    outcome = node.plugin.cni_add(node.config(), "c1", pod.path)
    if node.subject.mode == "bridge":
        assert name in node.refused(outcome)
        assert snapshot(pod) == before
    else:
        assert outcome.ok, outcome  # the gateway's addresses may stand on a device of any kind
        assert [each["gateway"] for each in outcome.document["ips"]] == [
            each.partition("/")[0] for each in node.host.addresses(name)
        ]


@pytest.mark.line(17, "versions")
def test_check_accepts_what_add_told(node: Node) -> None:
    """Line 17: the result of each version from 0.4.0 on, handed back by CHECK, is accepted to the letter."""
    for version in ("0.4.0", "1.0.0", "1.1.0"):
        attachment = node.added(node.config(cniVersion=version))
        assert at_least(version, "0.4.0")
        node.silent(node.check(attachment))
