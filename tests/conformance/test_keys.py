# SPDX-License-Identifier: Apache-2.0
"""The configuration keys: the reference plugins' own, and the document's that this project began from."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.node import Node
from tests.conformance.outside import HOST, OUTSIDE, accept_only_from, connect
from tests.conformance.subject import ABSENT

DOCUMENT = {
    "cniVersion": "0.3.1",
    "name": "mynet",
    "type": "bash-cni",
    "network": "10.244.0.0/16",
    "subnet": "10.244.1.0/24",
}


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
def test_mtu(node: Node) -> None:
    """`mtu` is both ends' MTU."""
    attachment = node.added(node.config(mtu=1400))
    assert attachment.pod.links()["eth0"]["mtu"] == 1400
    assert {node.host.links()[name]["mtu"] for name in node.host_veths()} == {1400}


@pytest.mark.line("keys")
@pytest.mark.podwire_decision
def test_mac(node: Node) -> None:
    """`mac` is the pod's MAC address."""
    attachment = node.added(node.config(mac="02:11:22:33:44:55"))
    assert attachment.pod.links()["eth0"]["address"] == attachment.inside["mac"] == "02:11:22:33:44:55"


@pytest.mark.line("keys")
def test_dns(node: Node) -> None:
    """`dns` is handed on in the result."""
    dns = {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["a.example.org"], "options": ["ndots:5"]}
    assert node.added(node.config(dns=dns)).result["dns"] == dns


@pytest.mark.line("keys")
@pytest.mark.cells("one")
@pytest.mark.parametrize("wanted", [True, False])
def test_hairpin_mode(node: Node, wanted: bool) -> None:
    """`hairpinMode` is set on the bridge's port, and only when asked for."""
    node.added(node.config(hairpinMode=wanted))
    ports = [node.host.links()[name]["linkinfo"]["info_slave_data"] for name in node.host_veths()]
    assert [port["hairpin"] for port in ports] == [wanted]


@pytest.mark.line("keys")
@pytest.mark.cells("one")
def test_promiscuous_mode(node: Node) -> None:
    """`promiscMode` is set on the bridge."""
    node.added(node.config(promiscMode=True))
    assert "PROMISC" in node.host.links()["cni0"]["flags"]


@pytest.mark.line("keys")
@pytest.mark.cells("one")
def test_bridge_name(node: Node) -> None:
    """`bridge` names the bridge; it carries the gateway; the port hangs on it."""
    node.added(node.config(bridge="br-pods"))
    assert f"{node.subject.networks[0][1]}/24" in node.host.addresses("br-pods")
    assert {node.host.links()[name]["master"] for name in node.host_veths()} == {"br-pods"}
    assert "cni0" not in node.host.links()


@pytest.mark.line("keys")
@pytest.mark.cells("one")
def test_a_bridge_that_is_there_already(node: Node) -> None:
    """A bridge made by hand, with the gateway's address on it, is used as it is."""
    node.host.run("ip", "link", "add", "cni0", "type", "bridge")
    node.host.run("ip", "addr", "add", f"{node.subject.networks[0][1]}/24", "dev", "cni0")
    node.host.run("ip", "link", "set", "cni0", "up")
    attachment = node.added()
    assert attachment.pod.pings(str(node.subject.networks[0][1]))
    assert node.host.addresses("cni0").count(f"{node.subject.networks[0][1]}/24") == 1


@pytest.mark.line("keys")
@pytest.mark.cells("one")
@pytest.mark.podwire_decision
def test_no_gateway_wanted(node: Node) -> None:
    """`isGateway` false: the bridge carries no address; pods still reach each other."""
    config = node.config(isGateway=False, isDefaultGateway=False)
    one, two = node.added(config), node.added(config)
    assert node.host.addresses("cni0") == []
    assert one.pod.pings(two.addresses[0])


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_no_default_route_wanted(node: Node) -> None:
    """`isDefaultGateway` false: no default route in the pod; the gateway still answers."""
    attachment = node.added(node.config(isDefaultGateway=False))
    for network in node.subject.networks:
        assert "default" not in [route["dst"] for route in attachment.pod.routes(network.version)]
        assert attachment.pod.pings(str(network[1]))


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_default_gateway_wanted(node: Node) -> None:
    """`isGateway` and `isDefaultGateway` true, as many configurations say, is what podwire does anyway."""
    attachment = node.added(node.config(isGateway=True, isDefaultGateway=True))
    for network in node.subject.networks:
        assert "default" in [route["dst"] for route in attachment.pod.routes(network.version)]


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_ranges(node: Node) -> None:
    """`ranges`: one address of each set; within rangeStart and rangeEnd; never the gateway."""
    sets: list[list[dict[str, str]]] = [
        [{"subnet": "10.60.0.0/24", "rangeStart": "10.60.0.10", "rangeEnd": "10.60.0.12", "gateway": "10.60.0.11"}],
        [{"subnet": "fd00:60::/64", "rangeStart": "fd00:60::10", "rangeEnd": "fd00:60::12"}],
    ]
    config = node.config(subnet=ABSENT, ranges=sets)
    one, two = node.added(config), node.added(config)
    assert {one.addresses[0], two.addresses[0]} == {"10.60.0.10", "10.60.0.12"}
    assert {one.addresses[1], two.addresses[1]} < {"fd00:60::10", "fd00:60::11", "fd00:60::12"}
    assert [entry["gateway"] for entry in one.result["ips"]] == ["10.60.0.11", "fd00:60::1"]
    full = node.refused(node.plugin.cni_add(config, "third", node.pod().path), 102)
    assert "10.60.0.0/24 is full (2 of 2 in use)" in full


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_a_set_of_several_ranges(node: Node) -> None:
    """`ranges`: when the first range of a set is full, the next one serves."""
    config = node.config(subnet=ABSENT, ranges=[[{"subnet": "10.60.0.0/30"}, {"subnet": "10.61.0.0/30"}]])
    attachments = [node.added(config) for _ in range(2)]
    networks = {str(ipaddress.ip_interface(each.addresses[0] + "/30").network) for each in attachments}
    assert networks == {"10.60.0.0/30", "10.61.0.0/30"}
    assert attachments[0].pod.pings(attachments[1].addresses[0])


@pytest.mark.line("keys", "trap 1")
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    "keys",
    [("subnet", "rangeStart", "rangeEnd", "gateway"), ("Subnet", "RangeStart", "RangeEnd", "Gateway")],
    ids=["tagged", "go-cni"],
)
def test_runtime_ranges(node: Node, keys: tuple[str, ...]) -> None:
    """`runtimeConfig.ipRanges`, also with the untagged keys that go-cni sends."""
    values = ("10.62.0.0/24", "10.62.0.20", "10.62.0.20", "10.62.0.1")
    ranges = [[dict(zip(keys, values, strict=True))]]
    attachment = node.added(node.config(subnet=ABSENT, runtimeConfig={"ipRanges": ranges}))
    assert attachment.addresses == ["10.62.0.20"]


@pytest.mark.line("keys")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_gateway_and_routes(node: Node) -> None:
    """`gateway` and `routes`: the gateway's address is the host's; routes go by it, or by their own `gw`."""
    gateway = "10.22.0.254"
    routes = [{"dst": "198.51.100.0/24"}, {"dst": "203.0.113.0/24", "gw": gateway}]
    attachment = node.added(node.config(subnet="10.22.0.0/24", gateway=gateway, routes=routes))
    assert gateway in [each.partition("/")[0] for each in node.host.addresses()]
    by_destination = {row["dst"]: row.get("gateway") for row in attachment.pod.routes(4)}
    assert by_destination["198.51.100.0/24"] == by_destination["203.0.113.0/24"] == gateway
    assert {"198.51.100.0/24", "203.0.113.0/24"} <= {route["dst"] for route in attachment.result["routes"]}
    assert attachment.pod.pings(gateway)


@pytest.mark.line("keys")
@pytest.mark.cells("one")
@pytest.mark.podwire_decision
def test_vlan_is_not_swallowed(node: Node) -> None:
    """`vlan` either puts the port into that VLAN or is refused by name; it is never silently left out."""
    pod = node.pod()
    outcome = node.plugin.cni_add(node.config(vlan=100), "c1", pod.path)
    if outcome.ok:
        rows = node.host.run("bridge", "-j", "vlan", "show").stdout
        assert "100" in rows
    else:
        assert "vlan" in node.refused(outcome, 2, 7)


@pytest.mark.line("keys", "reach")
@pytest.mark.cells("all")
def test_masquerade(node: Node) -> None:
    """`ipMasq`: pods reach what knows no route to them, and are seen with the node's address."""
    outside = node.pod()
    connect(node.host, outside)
    attachment = node.added(node.config(ipMasq=True))
    for family in node.subject.families:
        accept_only_from(outside, HOST[family])
        assert attachment.pod.pings(OUTSIDE[family])


@pytest.mark.line("keys", "reach")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_no_masquerade(node: Node) -> None:
    """`ipMasq` false: the outside, given a route back, sees the pod's own address."""
    outside = node.pod()
    connect(node.host, outside)
    attachment = node.added(node.config(ipMasq=False))
    for network in node.subject.networks:
        outside.run("ip", "route", "add", str(network), "via", HOST[network.version])
        accept_only_from(outside, str(network))
        assert attachment.pod.pings(OUTSIDE[network.version])


@pytest.mark.line("keys", "reach")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_the_cluster_is_not_masqueraded(node: Node) -> None:
    """`network`: masquerade is on by default, and never between the cluster's own ranges."""
    outside = node.pod()
    connect(node.host, outside)
    outside.run("ip", "addr", "add", "10.22.99.5/32", "dev", "lo")
    outside.run("ip", "route", "add", "10.22.0.0/24", "via", HOST[4])
    node.host.run("ip", "route", "add", "10.22.99.0/24", "via", OUTSIDE[4])
    attachment = node.added(node.config(subnet="10.22.0.0/24", network="10.22.0.0/16"))
    assert attachment.pod.pings(OUTSIDE[4])
    accept_only_from(outside, "10.22.0.0/24")
    assert attachment.pod.pings("10.22.99.5")
    assert not attachment.pod.pings(OUTSIDE[4], deadline_seconds=1)


@pytest.mark.line("reach")
@pytest.mark.cells("all")
@pytest.mark.podwire_decision
def test_forward_policy_drop(node: Node) -> None:
    """Where iptables' FORWARD drops (Docker's way), pods still reach each other and the outside."""
    outside = node.pod()
    connect(node.host, outside)
    for program in ("iptables", "ip6tables"):
        node.host.run(program, "-P", "FORWARD", "DROP")
    one, two = (node.added(node.config(ipMasq=True)) for _ in range(2))
    assert all(one.pod.pings(address) for address in two.addresses)
    assert all(one.pod.pings(OUTSIDE[family]) for family in node.subject.families)


@pytest.mark.line("document")
@pytest.mark.podwire_decision
@pytest.mark.parametrize("name", ["bash-cni", "podwire"])
@pytest.mark.parametrize("by_hand", [True, False], ids=["bridge by hand", "no bridge"])
def test_the_documents_configuration(node: Node, name: str, by_hand: bool) -> None:
    """The document's configuration works to the letter, under both names, with and without its bridge."""
    if by_hand:
        node.host.run("ip", "link", "add", "cni0", "type", "bridge")
        node.host.run("ip", "link", "set", "cni0", "up")
        node.host.run("ip", "addr", "add", "10.244.1.1/24", "dev", "cni0")
    outside = node.pod()
    connect(node.host, outside)
    node.plugin = dataclasses.replace(node.plugin, binary=node.plugin.binary.with_name(name))
    one, two = (node.added({**DOCUMENT, "type": name}) for _ in range(2))
    assert "10.244.1.1/24" in node.host.addresses("cni0")
    assert all(cidr.startswith("10.244.1.") and cidr.endswith("/24") for cidr in one.cidrs + two.cidrs)
    default = next(route for route in one.pod.routes(4) if route["dst"] == "default")
    assert default["gateway"] == "10.244.1.1"
    assert all(one.pod.pings(address) for address in ("10.244.1.1", two.addresses[0], OUTSIDE[4]))
    node.silent(node.plugin.cni_del({**DOCUMENT, "type": name}, one.container, one.pod.path))
    assert "eth0" not in one.pod.links()


@pytest.mark.line("trap 1")
@pytest.mark.podwire_decision
def test_keys_in_any_case(node: Node, tmp_path: Path) -> None:
    """Trap 1: keys are read in any case, at every level that is read, as Go's decoder does."""
    subnet = node.config()["subnet"]
    config: dict[str, Any] = {key.upper(): value for key, value in node.config(subnet=subnet, mtu=1410).items()}
    wanted = node.subject.addresses(44)
    config["RUNTIMECONFIG"] = {"IPS": wanted, "Mac": "02:00:00:00:00:44"}
    config["Dns"] = {"NameServers": ["192.0.2.53"]}
    pod = node.pod()
    outcome = node.plugin.cni_add(config, "c1", pod.path)
    assert outcome.ok, outcome
    assert outcome.document["cniVersion"] == config["CNIVERSION"]
    assert [each["address"].partition("/")[0] for each in outcome.document["ips"]] == wanted
    assert pod.links()["eth0"]["address"] == "02:00:00:00:00:44"
    assert pod.links()["eth0"]["mtu"] == 1410
    assert outcome.document["dns"] == {"nameservers": ["192.0.2.53"]}


@pytest.mark.line("trap 1", 12)
def test_last_of_two_spellings_wins(node: Node) -> None:
    """Trap 1: two spellings of one key are one key, of which the last counts."""
    pod = node.pod()
    config = {"name": "-bad-", **node.config(name=ABSENT), "NAME": "good"}
    outcome = node.plugin.cni_add(config, "c1", pod.path)
    assert outcome.ok, outcome
