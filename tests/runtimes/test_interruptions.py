# SPDX-License-Identifier: Apache-2.0
"""Pods on containerd while the agent comes, goes and is killed, and while the runtime itself dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from podwire_lab import network
from podwire_lab.command import CommandError
from podwire_lab.containerd import debian
from podwire_lab.cri import Pod
from tests.runtimes.cluster import Cluster, cluster_on
from tests.runtimes.world import WITH_AGENT, at_once

TRIES = 30  # of a pod, by one who tries again as a kubelet does
KILL_EVERY_SECONDS = 0.3


@pytest.fixture(scope="module", params=WITH_AGENT, ids=str)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Debian's containerd with podwire in each mode."""
    with cluster_on(debian(), request.param) as made:
        made.remove(made.cri.run_pod("first"))
        yield made


@pytest.fixture(autouse=True)
def an_agent_and_no_pods(cluster: Cluster) -> Iterator[None]:
    """Each test begins with an agent that serves, and leaves no pods."""
    network.start_agent(cluster.world.node)
    yield
    cluster.cri.remove_all()


def test_pods_of_the_agent_and_of_the_oneshot_path_are_one_network(cluster: Cluster) -> None:
    before = cluster.world.snapshot()
    with_agent = cluster.cri.run_pod("with-agent")
    cluster.world.node.end_service("podwire")
    without = cluster.cri.run_pod("without-agent")
    assert cluster.meet(with_agent, without)
    assert cluster.meet(without, with_agent)
    cluster.remove(with_agent)
    network.start_agent(cluster.world.node)
    cluster.remove(without)
    cluster.assert_nothing_left(before)


def test_pods_keep_their_network_when_agent_and_runtime_die(cluster: Cluster) -> None:
    before = cluster.world.snapshot()
    pods = [cluster.cri.run_pod(name) for name in ("one", "two")]
    for service in ("podwire", "containerd"):
        assert _kill(cluster, service)
    node = cluster.world.network
    assert all(node.pings(address) for pod in pods for address in pod.addresses)
    cluster.world.node.wait_for(lambda: cluster.cri.ready, "containerd")
    assert cluster.meet(*pods)
    for pod in pods:
        cluster.remove(pod)
    cluster.assert_nothing_left(before)


def test_an_agent_that_is_killed_again_and_again_loses_no_address(cluster: Cluster) -> None:
    before = cluster.world.snapshot()
    enough = threading.Event()
    kills: list[bool] = []

    def kill_the_agent() -> None:
        while not enough.wait(KILL_EVERY_SECONDS):
            kills.append(_kill(cluster, "podwire", wait=False))

    def run_pod(name: str) -> Pod:
        for attempt in range(TRIES):
            try:
                return cluster.cri.run_pod(f"{name}-{attempt}")
            except CommandError as failed:
                reason = failed
        raise reason

    killer = threading.Thread(target=kill_the_agent)
    killer.start()
    try:
        pods = at_once(run_pod, [f"pod-{number}" for number in range(20)])
    finally:
        enough.set()
        killer.join()
    assert kills.count(True) > 1, kills
    addresses = [address for pod in pods for address in pod.addresses]
    assert len(addresses) == len(set(addresses)) == len(pods) * cluster.world.families
    assert all(cluster.world.network.pings(address) for address in addresses)
    cluster.cri.remove_all()  # also the sandboxes of attempts that failed
    cluster.assert_nothing_left(before)


@pytest.mark.failure_mode("Docker's FORWARD DROP")
def test_a_forward_chain_that_drops_does_not_stop_pods(cluster: Cluster) -> None:
    for program in ("iptables", "ip6tables"):
        cluster.world.node.run(program, "-P", "FORWARD", "DROP")
    try:
        pods = [cluster.cri.run_pod(name) for name in ("one", "two")]
        assert cluster.meet(*pods)
        assert all(cluster.reaches(pods[0], address) for address in cluster.world.outside.addresses)
    finally:
        for program in ("iptables", "ip6tables"):
            cluster.world.node.run(program, "-P", "FORWARD", "ACCEPT")


def _kill(cluster: Cluster, service: str, wait: bool = True) -> bool:
    """SIGKILL to a service, which the node starts anew; False if it does not run."""
    node = cluster.world.node
    pid = node.service_pid(service)
    killed = pid is not None and node.run("kill", "-9", str(pid), check=False).ok
    if wait:
        node.wait_for(lambda: node.service_pid(service) not in (None, pid), service)
    return killed
