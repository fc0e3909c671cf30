# SPDX-License-Identifier: Apache-2.0
"""Line 15 and the table of versions: which command exists since when, what may ride with it."""

from __future__ import annotations

import pytest

from tests.conformance.node import Node
from tests.conformance.rules import VERSIONS, at_least

RUBBISH = [b"", b"{", b"\xff\x00", b"[]", b'{"cniVersion": 3}', b'{"cniVersion": "9.9.9"}', b"x" * 100_000]


@pytest.mark.cells("text")
@pytest.mark.line(15)
@pytest.mark.parametrize("stdin", RUBBISH, ids=range(len(RUBBISH)))
def test_version_tolerates_rubbish(node: Node, stdin: bytes) -> None:
    """Line 15: VERSION needs only CNI_COMMAND and does not mind what stands on standard input."""
    outcome = node.plugin.cni_version(stdin)
    assert outcome.ok, outcome
    assert set(outcome.document) == {"cniVersion", "supportedVersions"}
    assert outcome.document["cniVersion"] in VERSIONS
    assert set(outcome.document["supportedVersions"]) >= set(VERSIONS)


@pytest.mark.cells("text")
@pytest.mark.line("versions")
@pytest.mark.parametrize("version", [each for each in VERSIONS if not at_least(each, "0.4.0")])
def test_check_is_too_new(node: Node, version: str) -> None:
    """Table: CHECK came with 0.4.0; before, code 1."""
    attachment = node.added(node.config(cniVersion=version))
    with node.unchanged(attachment.pod):
        node.refused(node.check(attachment), 1)


@pytest.mark.cells("text")
@pytest.mark.line("versions")
@pytest.mark.parametrize("command", ["GC", "STATUS"])
@pytest.mark.parametrize("version", [each for each in VERSIONS if not at_least(each, "1.1.0")])
def test_gc_and_status_are_too_new(node: Node, version: str, command: str) -> None:
    """Table: GC and STATUS came with 1.1.0; before, code 1, and GC removes nothing."""
    attachment = node.added(node.config(cniVersion=version))
    config = node.config(cniVersion=version, **{"cni.dev/valid-attachments": []})
    with node.unchanged(attachment.pod):
        node.refused(node.plugin.call(command, config), 1)


@pytest.mark.line("versions", 24)
@pytest.mark.cells("all")
def test_check_since_it_exists(node: Node) -> None:
    """Table: CHECK passes for a healthy attachment in 0.4.0, 1.0.0 and 1.1.0."""
    for version in ("0.4.0", "1.0.0", "1.1.0"):
        node.silent(node.check(node.added(node.config(cniVersion=version))))


@pytest.mark.line("versions", 18)
@pytest.mark.parametrize("version", VERSIONS)
def test_del_with_and_without_previous_result(node: Node, version: str) -> None:
    """Table: DEL works with prevResult from 0.4.0 on, and without one in every version."""
    for with_result in (True, False):
        attachment = node.added(node.config(cniVersion=version))
        if with_result and at_least(version, "0.4.0"):
            node.silent(node.delete(attachment))
        else:
            node.silent(node.plugin.cni_del(attachment.config, attachment.container, attachment.pod.path))
        assert "eth0" not in attachment.pod.links()
