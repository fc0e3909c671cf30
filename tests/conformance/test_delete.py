# SPDX-License-Identifier: Apache-2.0
"""Lines 21 to 23: DEL succeeds whenever there is nothing left to do, and removes just what is its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.node import Attachment, Node, strange_link
from tests.support.namespace import wait_until
from tests.support.snapshot import difference, snapshot


def _fills_the_gap(node: Node, addresses: list[str]) -> None:
    """The addresses may be asked for again: their lease is gone."""
    args = {"cni": {"ips": addresses}}
    assert node.added(node.config(args=args)).addresses == addresses


@pytest.mark.line(21)
@pytest.mark.cells("all")
def test_del_leaves_nothing(node: Node) -> None:
    """Line 21: after DEL host and pod are as they were before ADD, and the address is free."""
    node.silent(node.delete(node.added()))
    pod = node.pod()
    host_before, pod_before = snapshot(node.host), snapshot(pod)
    attachment = node.added(pod=pod)
    node.silent(node.delete(attachment))
    assert not difference(host_before, snapshot(node.host))
    assert not difference(pod_before, snapshot(pod))
    _fills_the_gap(node, attachment.addresses)


@pytest.mark.line(21)
@pytest.mark.cells("datapaths")
def test_del_repeated(node: Node) -> None:
    """Line 21: a repeated DEL succeeds, with the result, without it, and with CNI_NETNS empty."""
    attachment = node.added()
    node.silent(node.delete(attachment))
    node.silent(node.delete(attachment))
    node.silent(node.plugin.cni_del(attachment.config, attachment.container, attachment.pod.path))
    node.silent(node.delete(attachment, netns=""))


@pytest.mark.failure_mode("DEL fails after a reboot")
@pytest.mark.line(21, 23, "nerdctl")
@pytest.mark.cells("datapaths")
def test_del_of_what_never_was(node: Node) -> None:
    """Lines 21 and 23: DEL of an attachment that was never added, as nerdctl sends before every ADD."""
    pod = node.pod()
    with node.unchanged(pod):
        for netns in (pod.path, ""):
            node.silent(node.plugin.cni_del(node.config(), "never", netns))


@pytest.mark.failure_mode("DEL fails after a reboot")
@pytest.mark.line(21)
@pytest.mark.cells("datapaths")
@pytest.mark.parametrize("kind", ["gone", "file", "folder", "empty"])
def test_del_after_the_namespace_vanished(node: Node, kind: str) -> None:
    """Line 21: netns gone, or not a namespace any more, or empty: exit 0, and nothing is left on the host."""
    attachment = node.added()
    attachment.pod.delete()
    path = node.folder / "netns"
    if kind == "file":
        path.touch()
    if kind == "folder":
        path.mkdir()
    node.silent(node.delete(attachment, netns="" if kind == "empty" else path))
    assert wait_until(lambda: not node.host_veths())
    _fills_the_gap(node, attachment.addresses)


@pytest.mark.line(21, 22)
@pytest.mark.cells("all")
def test_del_without_previous_result(node: Node) -> None:
    """Line 22: after a failed chain DEL comes without prevResult; it removes the attachment all the same."""
    attachment = node.added()
    node.silent(node.plugin.cni_del(attachment.config, attachment.container, attachment.pod.path))
    assert "eth0" not in attachment.pod.links()
    assert not node.host_veths()
    _fills_the_gap(node, attachment.addresses)


@pytest.mark.line(21)
def test_del_after_the_interface_went(node: Node) -> None:
    """Line 21: the interface missing in a living namespace: exit 0, and the lease is free."""
    attachment = node.added()
    attachment.pod.run("ip", "link", "del", "eth0")
    node.silent(node.delete(attachment))
    _fills_the_gap(node, attachment.addresses)


@pytest.mark.line(22, "several")
@pytest.mark.cells("all")
def test_del_takes_only_its_own(node: Node) -> None:
    """Line 22: the attachment is (network, container ID, ifname): DEL of one leaves its neighbours whole."""
    first = node.added()
    sibling = node.added(pod=first.pod, container=first.container, ifname="net1", config=node.config(name="other"))
    stranger = node.added()
    node.silent(node.delete(first))
    assert "eth0" not in first.pod.links()
    assert sibling.pod.links()["net1"]["address"] == sibling.inside["mac"]
    node.silent(node.check(stranger))
    assert node.host.pings(stranger.addresses[0])


@pytest.mark.line(22)
@pytest.mark.podwire_decision
@pytest.mark.parametrize("wrong", ["network", "container", "both and no netns"])
def test_del_of_another_identity_touches_nothing(node: Node, wrong: str) -> None:
    """Line 22: another network's or container's name in DEL does not cost this attachment its interface."""
    attachment = node.added()
    config = node.config(name="other") if wrong != "container" else attachment.config
    container = attachment.container if wrong == "network" else "other"
    with node.unchanged(attachment.pod):
        netns: Any = "" if wrong.startswith("both") else attachment.pod.path
        node.silent(node.plugin.cni_del(config, container, netns))


@pytest.mark.line(22)
@pytest.mark.podwire_decision
def test_del_keeps_a_strange_interface(node: Node) -> None:
    """Line 22: an interface named IFNAME that is not ours is not DEL's to remove."""
    pod = node.pod()
    strange_link(pod, "eth0")
    with node.unchanged(pod):
        node.silent(node.plugin.cni_del(node.config(), "c1", pod.path))


@pytest.mark.line(23, "containerd")
@pytest.mark.cells("all")
@pytest.mark.podwire_decision
def test_del_with_an_empty_netns_removes_the_pair(node: Node) -> None:
    """Line 23: a forced removal has CNI_NETNS empty; the veth goes though the namespace lives."""
    attachment = node.added()
    node.silent(node.delete(attachment, netns=""))
    assert "eth0" not in attachment.pod.links()
    assert not node.host_veths()
    _fills_the_gap(node, attachment.addresses)


def _renamed(attachment: Attachment) -> None:
    attachment.pod.run("ip", "link", "set", "eth0", "down")
    attachment.pod.run("ip", "link", "set", "eth0", "name", "renamed0")


@pytest.mark.line(22)
@pytest.mark.podwire_decision
def test_del_finds_a_renamed_interface(node: Node) -> None:
    """Line 22: what was renamed inside is still this attachment; DEL removes it."""
    attachment = node.added()
    _renamed(attachment)
    node.silent(node.delete(attachment))
    assert set(attachment.pod.links()) == {"lo"}
    assert not node.host_veths()


@pytest.mark.line("containerd", 21)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_del_with_a_changed_configuration(node: Node) -> None:
    """containerd's DEL uses the current configuration: other ranges, other mode, same attachment."""
    attachment = node.added()
    mode = "routed" if node.subject.mode == "bridge" else "bridge"
    changed = node.config(subnet="10.99.0.0/24", mode=mode, bridge="cni7", mtu=1280)
    node.silent(node.plugin.cni_del(changed, attachment.container, attachment.pod.path))
    assert "eth0" not in attachment.pod.links()
    assert not node.host_veths()
    assert not [row for family in (4, 6) for row in node.host.routes(family) if row["dst"] in attachment.addresses]
