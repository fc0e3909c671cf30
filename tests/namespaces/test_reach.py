# SPDX-License-Identifier: Apache-2.0
"""Connectivity: pods, their gateway, their host, other nodes and the internet, and with which address."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.namespaces.ground import FAMILIES, FAR_POD, GATEWAY, INTERNET, MODES, Outside, configuration, ips
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Plugin

New = Callable[[], Namespace]


def drop_forwarded(host: Host) -> None:
    """What Docker does to a host."""
    for program in ("iptables", "ip6tables"):
        host.run(program, "-P", "FORWARD", "DROP")


@pytest.mark.failure_mode("Docker's FORWARD DROP")
@pytest.mark.parametrize("firewall", ["open", "forward-drop"])
@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_pods_reach_each_other_their_gateway_and_their_host(
    plugin: Plugin, host: Host, new_namespace: New, mode: str, families: tuple[int, ...], firewall: str
) -> None:
    """Also where iptables' FORWARD policy was DROP before."""
    if firewall == "forward-drop":
        drop_forwarded(host)
    config = configuration(mode, families)
    one, two = new_namespace(), new_namespace()
    first, second = (plugin.cni_add(config, pod.name, pod.path) for pod in (one, two))
    for family, here, there in zip(families, ips(first), ips(second), strict=True):
        assert here != there
        assert one.pings(there)
        assert two.pings(here)
        assert one.pings(GATEWAY[family])
        assert host.pings(here)


@pytest.mark.parametrize("firewall", ["open", "forward-drop"])
@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_the_internet_sees_the_node_and_the_cluster_sees_the_pod(
    plugin: Plugin, host: Host, outside: Outside, pod: Namespace, mode: str, families: tuple[int, ...], firewall: str
) -> None:
    """Masquerade out of the cluster's range and never inside of it; the internet has no route to pods."""
    if firewall == "forward-drop":
        drop_forwarded(host)
    added = plugin.cni_add(configuration(mode, families), "box", pod.path)
    for family, address in zip(families, ips(added), strict=True):
        assert pod.pings(INTERNET[family])
        assert outside.seen("bare", family) == 0
        assert outside.seen("node", family) > 0
        before = outside.seen("node", family)
        # The far pod's node has to know the way to us; without our own masquerade it answers the pod itself.
        host.ip("route", "replace", FAR_POD[family], "via", host_next(family))
        assert pod.pings(FAR_POD[family])
        assert outside.seen("bare", family) > 0
        assert outside.seen("node", family) == before
        assert outside.run("ping", "-n", "-q", "-c", "1", "-W", "10", "-I", FAR_POD[family], address)


def host_next(family: int) -> str:
    """The node's next hop."""
    return {4: "192.0.2.2", 6: "2001:db8:2::2"}[family]


@pytest.mark.parametrize("mode", MODES)
def test_without_masquerade_the_pods_own_address_goes_out(
    plugin: Plugin, outside: Outside, pod: Namespace, mode: str
) -> None:
    """`ipMasq: false` means just that."""
    added = plugin.cni_add(configuration(mode, (4,), ipMasq=False), "box", pod.path)
    assert added.ok, added
    assert not pod.pings(INTERNET[4], deadline_seconds=1)
    assert outside.seen("bare", 4) > 0
    assert outside.seen("node", 4) == 0


@pytest.mark.parametrize("mode", MODES)
def test_two_interfaces_of_one_pod(plugin: Plugin, host: Host, outside: Outside, pod: Namespace, mode: str) -> None:
    """The first keeps the default route, both are reachable, and each goes by itself."""
    first_config = configuration(mode)
    second_config = configuration(
        mode, (4,), name="second", bridge="cni1", subnet="10.245.1.0/24", network="10.245.0.0/16"
    )
    first = plugin.cni_add(first_config, "box", pod.path)
    second = plugin.cni_add(second_config, "box", pod.path, ifname="net1")
    assert pod.pings(INTERNET[4])
    assert pod.pings("10.245.1.1")
    for address in (*ips(first), *ips(second)):
        assert host.pings(address)
    default = [row["dev"] for row in pod.routes(4) if row["dst"] == "default"]
    assert default[0] == "eth0"
    assert plugin.cni_del(second_config, "box", pod.path, ifname="net1").ok
    assert "net1" not in pod.links()
    for address in ips(first):
        assert host.pings(address)


@pytest.mark.parametrize("mode", MODES)
def test_two_interfaces_in_one_network(plugin: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """The same network twice: two leases, two devices."""
    config = configuration(mode)
    first = plugin.cni_add(config, "box", pod.path)
    second = plugin.cni_add(config, "box", pod.path, ifname="net1")
    assert not set(ips(first)) & set(ips(second))
    assert plugin.cni_del(config, "box", pod.path, ifname="eth0").ok
    assert "eth0" not in pod.links()
    assert sorted(pod.addresses("net1")) == sorted(each["address"] for each in second.document["ips"])


@pytest.mark.parametrize("mode", MODES)
def test_two_networks_on_one_node(plugin: Plugin, host: Host, new_namespace: New, mode: str) -> None:
    """They have their own gateways and leases, and reach each other through the host."""
    other = configuration(mode, (4,), name="other", bridge="cni1", subnet="10.246.1.0/24", network="10.246.0.0/16")
    one, two = new_namespace(), new_namespace()
    first = plugin.cni_add(configuration(mode, (4,)), "box", one.path)
    second = plugin.cni_add(other, "box", two.path)
    assert one.pings(ips(second)[0])
    assert two.pings(ips(first)[0])
