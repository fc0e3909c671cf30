# SPDX-License-Identifier: Apache-2.0
"""Line 24: CHECK notices what is missing or different, and says which; it minds nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from tests.conformance.node import Attachment, Node, strange_link


def _first_cidr(attachment: Attachment) -> str:
    return attachment.cidrs[0]


def _loses_interface(attachment: Attachment) -> str:
    attachment.pod.run("ip", "link", "del", "eth0")
    return "eth0"


def _loses_address(attachment: Attachment) -> str:
    attachment.pod.run("ip", "addr", "del", _first_cidr(attachment), "dev", "eth0")
    return attachment.addresses[0]


def _changes_address(attachment: Attachment) -> str:
    attachment.pod.run("ip", "addr", "flush", "dev", "eth0")
    attachment.pod.run("ip", "addr", "add", "198.51.100.8/24", "dev", "eth0")
    return attachment.addresses[0]


def _loses_route(attachment: Attachment) -> str:
    family = "-6" if ":" in attachment.addresses[0] else "-4"
    attachment.pod.run("ip", family, "route", "del", "default")
    return "::/0" if family == "-6" else "0.0.0.0"


def _changes_mac(attachment: Attachment) -> str:
    attachment.pod.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
    return "02:00:00:00:00:99"


DAMAGE: dict[str, Callable[[Attachment], str]] = {
    "interface": _loses_interface,
    "address": _loses_address,
    "other address": _changes_address,
    "route": _loses_route,
}
OWN_DAMAGE: dict[str, Callable[[Attachment], str]] = {"mac": _changes_mac}


def _notices(node: Node, damage: Callable[[Attachment], str]) -> None:
    attachment = node.added()
    node.silent(node.check(attachment))
    word = damage(attachment)
    with node.unchanged(attachment.pod):
        assert word in node.refused(node.check(attachment))


@pytest.mark.line(24)
@pytest.mark.cells("datapaths")
@pytest.mark.parametrize("damage", DAMAGE)
def test_check_notices(node: Node, damage: str) -> None:
    """Line 24: interface, address, route missing or different: an error says which; nothing is restored."""
    _notices(node, DAMAGE[damage])


@pytest.mark.line(24)
@pytest.mark.podwire_decision
def test_check_notices_another_mac(node: Node) -> None:
    """Line 24: a MAC address that is not the result's is different too."""
    _notices(node, _changes_mac)


@pytest.mark.line(24)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_check_notices_a_lost_lease(node: Node) -> None:
    """Line 24: the lease (the address as the host device's name) missing: an error names the address."""
    attachment = node.added()
    link = node.host.ip("link", "show", attachment.addresses[0])[0]
    node.host.run("ip", "link", "property", "del", "dev", link["ifname"], "altname", attachment.addresses[0])
    assert attachment.addresses[0] in node.refused(node.check(attachment))


@pytest.mark.line(24)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_check_notices_the_hosts_side(node: Node) -> None:
    """Line 24: the host's route to the pod (routed) or the bridge port (bridge) missing: an error."""
    attachment = node.added()
    link = node.host.ip("link", "show", attachment.addresses[0])[0]
    if node.subject.mode == "routed":
        node.host.run("ip", "route", "del", attachment.addresses[0])
        words = f"the host's route to {attachment.addresses[0]} is missing"
    else:
        node.host.run("ip", "link", "set", link["ifname"], "nomaster")
        words = f"the host's device {link['ifname']} is not a port of bridge cni0"
    assert words in node.refused(node.check(attachment))


@pytest.mark.line(24)
def test_check_without_a_previous_result(node: Node) -> None:
    """Line 24: CHECK without prevResult is an error."""
    attachment = node.added()
    assert "prevResult" in node.refused(node.check(attachment, attachment.config))


@pytest.mark.line(24)
def test_check_of_what_never_was(node: Node) -> None:
    """Line 24: CHECK of a container that was never added is an error, also with another's result."""
    attachment = node.added()
    pod = node.pod()
    with node.unchanged(pod, attachment.pod):
        outcome = node.plugin.cni_check(attachment.config_with_result, "other", pod.path)
        node.refused(outcome, own=104, words="of eth0 is missing")


@pytest.mark.line(24)
def test_check_with_a_different_result(node: Node) -> None:
    """Line 24: a prevResult that tells an address which the pod does not have is an error that names it."""
    attachment = node.added()
    previous = copy.deepcopy(attachment.result)
    told = node.subject.addresses(211)[0]
    previous["ips"][0]["address"] = told + "/" + attachment.cidrs[0].partition("/")[2]
    assert told in node.refused(node.check(attachment, {**attachment.config, "prevResult": previous}))


@pytest.mark.line(24)
def test_check_in_a_vanished_namespace(node: Node) -> None:
    """Line 24: the sandbox gone is an error."""
    attachment = node.added()
    attachment.pod.delete()
    node.refused(node.check(attachment), own=3, words=f"CNI_NETNS={attachment.pod.path} cannot be opened")


@pytest.mark.line(24)
@pytest.mark.cells("datapaths")
def test_extras_of_later_plugins_are_fine(node: Node) -> None:
    """Line 24: interfaces, addresses and routes of a later plugin, in kernel and result, are no fault."""
    attachment = node.added()
    pod = attachment.pod
    strange_link(pod, "later0")
    pod.run("ip", "link", "set", "later0", "up")
    pod.run("ip", "addr", "add", "192.0.2.7/24", "dev", "later0")
    pod.run("ip", "addr", "add", "192.0.2.129/32", "dev", "eth0")
    pod.run("ip", "route", "add", "198.51.100.0/24", "dev", "later0")
    previous = copy.deepcopy(attachment.result)
    mac = pod.links()["later0"]["address"]
    previous["interfaces"].append({"name": "later0", "mac": mac, "sandbox": str(pod.path)})
    previous["ips"].append({"address": "192.0.2.7/24", "interface": len(previous["interfaces"]) - 1})
    previous["routes"] = [*previous.get("routes", []), {"dst": "198.51.100.0/24"}]
    previous["dns"] = {"nameservers": ["192.0.2.53"]}
    node.silent(node.check(attachment, {**attachment.config, "prevResult": previous}))


@pytest.mark.line("cri-o", 24)
@pytest.mark.cells("datapaths")
def test_check_right_after_add(node: Node) -> None:
    """CRI-O checks right after ADD, before duplicate address detection could end."""
    for _ in range(5):
        node.silent(node.check(node.added()))
