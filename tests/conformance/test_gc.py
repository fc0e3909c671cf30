# SPDX-License-Identifier: Apache-2.0
"""Lines 25 and 26: GC removes the attachments of its network that are not listed, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.ipam import Ipam
from tests.conformance.node import Attachment, Node
from tests.conformance.subject import ABSENT
from tests.support.namespace import wait_until

VALID = "cni.dev/valid-attachments"
ALSO_VALID = "cni.dev/attachments"


def _entry(attachment: Attachment) -> dict[str, str]:
    return {"containerID": attachment.container, "ifname": attachment.ifname}


def _gone(node: Node, *attachments: Attachment) -> None:
    for attachment in attachments:
        assert attachment.ifname not in attachment.pod.links()
        args = {"cni": {"ips": attachment.addresses}}
        again = node.added(node.config(args=args))
        assert again.addresses == attachment.addresses
        node.silent(node.delete(again))


@pytest.mark.line(25, 26)
@pytest.mark.cells("all")
@pytest.mark.podwire_decision
def test_gc_removes_what_is_not_listed(node: Node) -> None:
    """Line 25: interfaces and leases of attachments that are not listed go; listed ones stay whole."""
    kept, lost = node.added(), node.added()
    extra = node.added(pod=kept.pod, container=kept.container, ifname="net1")
    other = node.added(node.config(name="other"))
    node.silent(node.plugin.cni_gc(node.config(**{VALID: [_entry(kept)]})))
    _gone(node, lost, extra)
    node.silent(node.check(kept))
    node.silent(node.check(other))
    assert kept.pod.pings(other.addresses[0])


@pytest.mark.line(25)
@pytest.mark.podwire_decision
def test_gc_by_the_other_key(node: Node) -> None:
    """Line 25: `cni.dev/attachments` is read as well."""
    kept, lost = node.added(), node.added()
    node.silent(node.plugin.cni_gc(node.config(**{ALSO_VALID: [_entry(kept)]})))
    assert "eth0" not in lost.pod.links()
    node.silent(node.check(kept))


@pytest.mark.line(25, "cri-o")
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
@pytest.mark.parametrize("value", [None, []], ids=["null", "empty"])
def test_gc_of_a_node_without_pods(node: Node, value: Any) -> None:
    """Line 25: `null` (CRI-O with no pods) and the empty list both mean: none is valid."""
    lost = [node.added() for _ in range(3)]
    other = node.added(node.config(name="other"))
    node.silent(node.plugin.cni_gc(node.config(**{VALID: value})))
    _gone(node, *lost)
    node.silent(node.check(other))


@pytest.mark.line(25)
@pytest.mark.podwire_decision
def test_gc_without_the_key(node: Node) -> None:
    """Line 25: the key absent altogether is an error, and nothing is removed."""
    attachment = node.added()
    with node.unchanged(attachment.pod):
        assert VALID in node.refused(node.plugin.cni_gc(node.config()))


@pytest.mark.cells("text")
@pytest.mark.line(25)
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    "value",
    [
        "x",
        3,
        {},
        [3],
        ["c1"],
        [{"containerID": 3, "ifname": "eth0"}],
        [{"ifname": "eth0"}],
        [{"containerID": "c1"}],
        [None],
        {"containerID": "c1"},
    ],
    ids=str,
)
def test_gc_with_a_wrong_list(node: Node, value: Any) -> None:
    """Line 25: a list that is none, or has entries that are none, is an error; nothing is removed."""
    attachment = node.added()
    with node.unchanged(attachment.pod):
        message = node.refused(node.plugin.cni_gc(node.config(**{VALID: value})), 6, 7)
        assert VALID in message or "containerID=3" in message


@pytest.mark.line(25)
@pytest.mark.podwire_decision
def test_gc_key_in_another_case(node: Node) -> None:
    """Trap 1: the entries' keys are read in any case; a misread key must not cost a pod its network."""
    kept = node.added()
    entry = {"ContainerID": kept.container, "IfName": "eth0"}
    node.silent(node.plugin.cni_gc(node.config(**{VALID: [entry]})))
    node.silent(node.check(kept))


@pytest.mark.line(26)
def test_gc_knows_only_its_network(node: Node) -> None:
    """Line 26: GC of a network leaves the attachments of every other network alone."""
    attachments = [node.added(), node.added()]
    with node.unchanged(*[each.pod for each in attachments]):
        node.silent(node.plugin.cni_gc(node.config(name="other", **{VALID: []})))
    for each in attachments:
        node.silent(node.check(each))


@pytest.mark.line(26)
def test_gc_twice(node: Node) -> None:
    """Line 26: GC with everything listed changes nothing, however often it comes."""
    attachment = node.added()
    with node.unchanged(attachment.pod):
        for _ in range(2):
            node.silent(node.plugin.cni_gc(node.config(**{VALID: [_entry(attachment)]})))


@pytest.mark.line(26)
def test_gc_after_namespaces_vanished(node: Node) -> None:
    """Line 26: attachments whose namespace is gone are no error for GC."""
    for _ in range(3):
        node.added().pod.delete()
    node.silent(node.plugin.cni_gc(node.config(**{VALID: []})))
    assert wait_until(lambda: not node.host_veths())


@pytest.mark.line(26)
@pytest.mark.podwire_decision
def test_gc_goes_on_past_errors(node: Node, tmp_path: Path) -> None:
    """Line 26: a delegated IPAM plugin that fails is reported; the stale attachments are removed all the same."""
    ipam = Ipam(tmp_path)
    ipam.fails("GC", 111, "the pool's ledger is torn")
    lost = [node.added(), node.added()]
    config = node.config(subnet=ABSENT, ipam=ipam.config, **{VALID: []})
    outcome = node.plugin.cni_gc(config, CNI_PATH=str(ipam.bin))
    assert "the pool's ledger is torn" in node.refused(outcome)
    _gone(node, *lost)


@pytest.mark.line(26)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_gc_of_many(node: Node) -> None:
    """Line 26: thirty stale attachments go in one GC; the others keep their network."""
    lost = [node.added() for _ in range(30)]
    kept = node.added()
    node.silent(node.plugin.cni_gc(node.config(**{VALID: [_entry(kept)]})))
    assert all("eth0" not in each.pod.links() for each in lost)
    assert len(node.host_veths()) == 1
    node.silent(node.check(kept))
