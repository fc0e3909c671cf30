# SPDX-License-Identifier: Apache-2.0
"""Line 27: STATUS says whether an ADD could work, quickly, and never because addresses ran out."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.ipam import Ipam
from tests.conformance.node import Node, encoded
from tests.conformance.subject import ABSENT

HANG_GUARD_SECONDS = 15.0
TINY_ROOM = 5  # a /29 less network, gateway, broadcast


@pytest.mark.line(27)
@pytest.mark.cells("datapaths")
def test_status_of_a_healthy_node(node: Node) -> None:
    """Line 27: exit 0 and nothing printed, before the first pod and after; it changes nothing."""
    with node.unchanged():
        node.silent(node.plugin.cni_status(node.config()))
    node.added()
    node.silent(node.plugin.cni_status(node.config()))


@pytest.mark.line(27)
def test_status_of_a_full_node(node: Node) -> None:
    """Line 27: running out of addresses is no reason for 50: it would evict healthy pods."""
    config = _tiny(node)
    for _ in range(TINY_ROOM):
        node.added(config)
    pod = node.pod()
    message = node.refused(node.plugin.cni_add(config, pod.name, pod.path))
    assert "10.77.0.0/29" in message or "no IP addresses available" in message
    node.silent(node.plugin.cni_status(config))


def _tiny(node: Node) -> dict[str, Any]:
    if node.subject.is_podwire:
        return node.config(subnet="10.77.0.0/29")
    return node.config(ipam={**node.subject.config["ipam"], "ranges": [[{"subnet": "10.77.0.0/29"}]]})


@pytest.mark.line(27)
def test_status_asks_the_ipam_plugin(node: Node, tmp_path: Path) -> None:
    """Line 27: a delegated IPAM plugin that is not ready makes STATUS fail; ADD and DEL work meanwhile."""
    ipam = Ipam(tmp_path)
    ipam.gives("10.50.0.7/24")
    ipam.fails("STATUS", 50, "the pool is not reachable")
    config = node.config(subnet=ABSENT, ipam=ipam.config)
    path = f"{ipam.bin}:{node.plugin.binary.parent}"
    message = node.refused(node.plugin.cni_status(config, CNI_PATH=path), 50, 51)
    assert "the pool is not reachable" in message
    attachment = node.added(config, CNI_PATH=path)
    node.silent(node.plugin.cni_del(config, attachment.container, attachment.pod.path, CNI_PATH=path))


@pytest.mark.line(27, "deadlines")
@pytest.mark.cells("agent")
@pytest.mark.podwire_decision
def test_status_of_a_hung_agent(node: Node) -> None:
    """Line 27: an agent that does not answer makes STATUS say 50; it does not hang."""
    assert node.agent
    os.kill(node.agent.pid, signal.SIGSTOP)
    try:
        variables = node.plugin.variables("STATUS")
        outcome = node.plugin.run(variables, encoded(node.config()), timeout_seconds=HANG_GUARD_SECONDS)
    finally:
        os.kill(node.agent.pid, signal.SIGCONT)
    node.refused(outcome, 50)


@pytest.mark.line("cri-o", 27)
def test_status_again_and_again(node: Node) -> None:
    """CRI-O asks every 500 ms until ready: the same answer each time, nothing changed."""
    with node.unchanged():
        for _ in range(5):
            node.silent(node.plugin.cni_status(node.config()))
