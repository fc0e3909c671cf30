# SPDX-License-Identifier: Apache-2.0
"""Lines 17 and 31 to 34: the shape of a result in every version of the specification."""

from __future__ import annotations

import ipaddress
import re

import pytest

from tests.conformance.node import Attachment, Node
from tests.conformance.rules import OLD_VERSIONS, VERSIONED_IPS, VERSIONS, at_least


def _is_true_in_the_kernel(attachment: Attachment) -> None:
    assert sorted(attachment.pod.addresses("eth0")) == sorted(attachment.cidrs)


@pytest.mark.line(17, 31, 32, 33)
@pytest.mark.cells("all")
def test_result_in_every_version(node: Node) -> None:
    """Lines 17, 31, 32: one JSON document in the config's version; its addresses are the kernel's."""
    for version in VERSIONS:
        attachment = node.added(node.config(cniVersion=version))
        families = [ipaddress.ip_interface(cidr).version for cidr in attachment.cidrs]
        assert families == node.subject.families
        assert ("interfaces" in attachment.result) == (version not in OLD_VERSIONS)
        _is_true_in_the_kernel(attachment)
        node.silent(node.plugin.cni_del(attachment.config, attachment.container, attachment.pod.path))


@pytest.mark.line(31)
@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_old_result(node: Node, version: str) -> None:
    """Line 31: `ip4` and `ip6` with ip, gateway and routes; nothing of interfaces."""
    result = node.added(node.config(cniVersion=version)).result
    for family, network in zip(node.subject.families, node.subject.networks, strict=True):
        block = result[f"ip{family}"]
        assert ipaddress.ip_interface(block["ip"]).ip in network
        assert ipaddress.ip_address(block["gateway"]) in network
        default = "0.0.0.0/0" if family == 4 else "::/0"
        assert default in [route["dst"] for route in block["routes"]]


@pytest.mark.line(32)
@pytest.mark.parametrize("version", [each for each in VERSIONS if each not in OLD_VERSIONS])
def test_family_of_an_address(node: Node, version: str) -> None:
    """Line 32: `ips[].version` is there from 0.3.0 to 0.4.0 and gone from 1.0.0 on."""
    entries = node.added(node.config(cniVersion=version)).result["ips"]
    expected = [str(family) for family in node.subject.families] if version in VERSIONED_IPS else [None] * len(entries)
    assert [entry.get("version") for entry in entries] == expected


@pytest.mark.line(33)
@pytest.mark.podwire_decision
def test_mtu_in_the_newest_result(node: Node) -> None:
    """Line 33: from 1.1.0 on an interface's `mtu` is told, and is the kernel's; before, it does not exist."""
    for version in VERSIONS[2:]:
        attachment = node.added(node.config(cniVersion=version, mtu=1400))
        assert attachment.inside.get("mtu") == (1400 if at_least(version, "1.1.0") else None)
        assert attachment.pod.links()["eth0"]["mtu"] == 1400


@pytest.mark.line(33)
@pytest.mark.podwire_decision
def test_route_extras(node: Node) -> None:
    """Line 33: a route's mtu, advmss and priority reach the kernel; 1.1.0 tells them, 1.0.0 not."""
    destination = "192.0.2.0/24" if 4 in node.subject.families else "2001:db8::/64"
    route = {"dst": destination, "mtu": 1300, "advmss": 1260, "priority": 50}
    for version in ("1.0.0", "1.1.0"):
        attachment = node.added(node.config(cniVersion=version, routes=[route]))
        told = next(each for each in attachment.result["routes"] if each["dst"] == destination)
        family = ipaddress.ip_network(destination).version
        actual = next(each for each in attachment.pod.routes(family) if each["dst"] == destination)
        assert actual["metric"] == 50
        assert actual["metrics"][0] == {"mtu": 1300, "advmss": 1260}
        assert told.get("mtu") == (1300 if version == "1.1.0" else None)


@pytest.mark.line(34)
@pytest.mark.cells("datapaths")
@pytest.mark.parametrize("version", ["0.3.1", "1.0.0", "1.1.0"])
def test_what_runtimes_read(node: Node, version: str) -> None:
    """Line 34: addresses point at an interface in the sandbox that is named IFNAME, and its mac parses."""
    attachment = node.added(node.config(cniVersion=version))
    interfaces = attachment.result["interfaces"]
    assert attachment.result["ips"]
    for entry in attachment.result["ips"]:
        assert interfaces[entry["interface"]]["name"] == "eth0"
        assert interfaces[entry["interface"]]["sandbox"] == str(attachment.pod.path)
    assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", attachment.inside["mac"])
    assert attachment.pod.links()["eth0"]["address"] == attachment.inside["mac"]


@pytest.mark.line(17)
@pytest.mark.parametrize("spelling", ["/run/netns/../netns/{}", "//run//netns/{}", "/var/run/netns/{}"])
def test_sandbox_is_echoed(node: Node, spelling: str) -> None:
    """Line 17: `sandbox` is CNI_NETNS to the letter; CHECK with the same letters passes."""
    pod = node.pod()
    path = spelling.format(pod.name)
    outcome = node.plugin.cni_add(node.config(), "c1", path)
    assert outcome.ok, outcome
    inside = next(each for each in outcome.document["interfaces"] if each["name"] == "eth0")
    assert inside["sandbox"] == path
    node.silent(node.plugin.cni_check(node.config(prevResult=outcome.document), "c1", path))


@pytest.mark.line(17)
def test_nothing_on_stderr_at_success(node: Node) -> None:
    """Line 17: a success is the document and nothing else."""
    pod = node.pod()
    outcome = node.plugin.cni_add(node.config(), "c1", pod.path)
    assert outcome.ok
    assert outcome.stderr == b""
