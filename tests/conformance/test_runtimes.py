# SPDX-License-Identifier: Apache-2.0
"""What runtimes do to a plugin, call for call: containerd, nerdctl, CRI-O, podman, the kubelet."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.node import Node
from tests.support.namespace import wait_until
from tests.support.plugin import Plugin
from tests.support.snapshot import snapshot

LOOPBACK = {"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"}
GO_CNI = {
    "portMappings": [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}],
    "bandwidth": {"IngressRate": 1000, "IngressBurst": 1000, "EgressRate": 1000, "EgressBurst": 1000},
    "dns": {"Servers": ["192.0.2.53"], "Searches": ["example.org"], "Options": None},
    "cgroupPath": "/kubepods/pod1",
    "io.kubernetes.cri.pod-annotations": {"a": "b"},
}


def _loopback(node: Node) -> Plugin:
    return dataclasses.replace(node.plugin, binary=node.plugin.binary.with_name("loopback"))


@pytest.mark.line("containerd")
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_loopback(node: Node, version: str) -> None:
    """containerd calls `loopback` for every pod: lo comes up; DEL takes it down; both may be repeated."""
    loopback, config = _loopback(node), {**LOOPBACK, "cniVersion": version}
    pod = node.pod()
    pod.run("ip", "link", "set", "lo", "down")
    outcome = loopback.cni_add(config, "c1", pod.path, "lo")
    assert outcome.ok, outcome
    assert outcome.document["cniVersion"] == version
    assert "UP" in pod.links()["lo"]["flags"]
    assert pod.pings("127.0.0.1")
    if version != "0.3.1":
        node.silent(loopback.cni_check({**config, "prevResult": outcome.document}, "c1", pod.path, "lo"))
    for _ in range(2):
        node.silent(loopback.cni_del(config, "c1", pod.path, "lo"))
    pod.delete()
    node.silent(loopback.cni_del(config, "c1", pod.path, "lo"))
    node.silent(loopback.cni_del(config, "c1", "", "lo"))


@pytest.mark.line("containerd", "trap 1")
@pytest.mark.cells("all")
def test_containerds_life_of_a_pod(node: Node) -> None:
    """containerd: loopback, ADD with all its capabilities, DEL, and a second DEL with an empty CNI_NETNS."""
    pod = node.pod()
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID={'f' * 64}"
    config = node.config(cniVersion="1.0.0", runtimeConfig=GO_CNI, capabilities={"portMappings": True})
    loopback = _loopback(node)
    assert loopback.cni_add(LOOPBACK, "f" * 64, pod.path, "lo", args).ok
    attachment = node.added(config, pod, "f" * 64, args=args)
    assert pod.pings(attachment.addresses[0])
    for netns in (pod.path, ""):
        node.silent(node.plugin.cni_del(attachment.config_with_result, "f" * 64, netns, args=args))
        node.silent(loopback.cni_del(LOOPBACK, "f" * 64, netns, "lo", args))


@pytest.mark.failure_mode("slow ADD, sandbox timeouts")
@pytest.mark.line("containerd")
@pytest.mark.cells("all")
def test_pods_at_once(node: Node) -> None:
    """containerd: ADDs of different pods run at once; each has its own address, and each can be reached."""
    with ThreadPoolExecutor(8) as pool:
        attachments = list(pool.map(lambda _: node.added(), range(12)))
    everything = [address for each in attachments for address in each.addresses]
    assert everything
    assert len(set(everything)) == len(everything)
    assert all(node.host.pings(address) for address in everything)
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(node.delete, attachments))
    assert len(outcomes) == 12
    for outcome in outcomes:
        node.silent(outcome)
    assert not node.host_veths()


@pytest.mark.line("nerdctl", 23)
def test_nerdctls_del_before_add(node: Node) -> None:
    """nerdctl sends DEL with an empty CNI_NETNS before every ADD."""
    pod = node.pod()
    node.silent(node.plugin.cni_del(node.config(), "c1", ""))
    node.added(pod=pod, container="c1")


@pytest.mark.line("kubelet")
def test_a_retry_has_a_new_container(node: Node) -> None:
    """kubelet: a retry is a new sandbox with a new ID; the old one's DEL comes later and costs the new one nothing."""
    old = node.added()
    new = node.added()
    old.pod.delete()
    node.silent(node.delete(old))
    node.silent(node.check(new))
    assert node.host.pings(new.addresses[0])


@pytest.mark.line("podman")
def test_versions_for_old_readers(node: Node) -> None:
    """podman 4 and containerd 1.6 read no result of 1.1.0: a config of 1.0.0 is answered in 1.0.0, list or not."""
    config = node.config(cniVersion="1.0.0", cniVersions=["0.4.0", "1.0.0", "1.1.0"])
    assert node.added(config).result["cniVersion"] == "1.0.0"


@pytest.mark.line("agent")
@pytest.mark.cells("agent")
@pytest.mark.podwire_decision
def test_agent_and_one_shot_take_turns(node: Node) -> None:
    """What the agent added, the one-shot path checks and removes, and the other way round."""
    alone = dataclasses.replace(node.plugin, environment={"PODWIRE_SOCKET": str(node.folder / "none.sock")})
    for first, second in ((node.plugin, alone), (alone, node.plugin)):
        pod = node.pod()
        outcome = first.cni_add(node.config(), "c1", pod.path)
        assert outcome.ok, outcome
        node.refused(second.cni_add(node.config(), "c1", pod.path), 101)
        node.silent(second.cni_check(node.config(prevResult=outcome.document), "c1", pod.path))
        node.silent(second.cni_del(node.config(), "c1", pod.path))
        assert not node.host_veths()


@pytest.mark.line("agent")
@pytest.mark.cells("agent")
@pytest.mark.podwire_decision
def test_the_agent_dies(node: Node) -> None:
    """A killed agent loses nothing: its socket's file is there, and every verb works without it."""
    attachment = node.added()
    assert node.agent
    node.agent.kill()
    assert node.agent.socket.exists()
    node.silent(node.check(attachment))
    other = node.added()
    assert attachment.pod.pings(other.addresses[0])
    node.silent(node.plugin.cni_gc(node.config(**{"cni.dev/valid-attachments": []})))
    assert not node.host_veths()


@pytest.mark.line("agent", "containerd")
@pytest.mark.cells("agent")
@pytest.mark.podwire_decision
def test_a_changed_configuration_comes_to_rest(node: Node) -> None:
    """Pods added under two configurations of one network: the agent settles the node once, and leaves it alone."""
    node.added(node.config(ipMasq=True))
    node.added(node.config(ipMasq=True, subnet="10.22.0.0/24"))

    def is_still() -> bool:
        seen = set()
        for _ in range(20):
            seen.add(snapshot(node.host))
            time.sleep(0.05)
        return len(seen) == 1

    assert wait_until(is_still, timeout_seconds=10)
