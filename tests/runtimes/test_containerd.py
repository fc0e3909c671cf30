# SPDX-License-Identifier: Apache-2.0
"""Real pods on real containerd, 1.6 and 2.4, wired by podwire: they run, reach, and leave nothing behind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from podwire_lab.cri import Pod
from tests.runtimes.cluster import Cluster, cluster_on
from tests.runtimes.mirror import PORT
from tests.runtimes.world import CONTAINERDS, WIRINGS, Wiring, at_once

OLD, NEW = CONTAINERDS
# What differs between the containerds is how they call a plugin, not how it wires: the newer one tries each way once.
CELLS = [*((OLD, wiring) for wiring in WIRINGS), (NEW, Wiring("routed", agent=True)), (NEW, Wiring("bridge"))]
if os.environ.get("PODWIRE_TEST_EVERYTHING"):
    CELLS = list(itertools.product(CONTAINERDS, WIRINGS))


@pytest.fixture(scope="module", params=CELLS, ids=lambda cell: f"{cell[0]}-{cell[1]}")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Each containerd with each wiring."""
    name, wiring = request.param
    with cluster_on(CONTAINERDS[name](), wiring) as made:
        yield made


@pytest.fixture
def two_pods(cluster: Cluster) -> Iterator[tuple[Pod, Pod]]:
    """Two pods that are gone after the test."""
    try:
        yield cluster.cri.run_pod("one"), cluster.cri.run_pod("two")
    finally:
        cluster.cri.remove_all()


def test_pods_reach_each_other_the_gateway_and_the_outside(cluster: Cluster, two_pods: tuple[Pod, Pod]) -> None:
    one, two = two_pods
    assert len(one.addresses) == len(two.addresses) == cluster.world.families
    for pod, other in ((one, two), (two, one)):
        for address in (*other.addresses, *cluster.world.gateways):
            assert cluster.reaches(pod, address), f"{pod} does not reach {address}"
        outside = cluster.world.outside.addresses[: cluster.world.families]
        assert outside
        for address in outside:
            assert cluster.reaches(pod, address), f"{pod} does not reach {address}, outside"


def test_the_outside_sees_the_node(cluster: Cluster, two_pods: tuple[Pod, Pod]) -> None:
    outside = cluster.world.outside
    called = list(zip(outside.addresses, outside.seen_node, strict=True))[: cluster.world.families]
    assert called
    for target, node in called:
        seen = cluster.cri.exec(two_pods[0], "nc", "-w", "10", target, str(PORT)).output.strip()
        assert seen == node, f"{target} was called as {seen}"


def test_many_pods_at_once(cluster: Cluster) -> None:
    count = 50 if cluster.world.wiring.agent else 8
    cluster.remove(cluster.cri.run_pod("first"))  # what a first pod makes for all: bridge, firewall table
    before = cluster.world.snapshot()
    try:
        pods = at_once(cluster.cri.run_pod, [f"pod-{number}" for number in range(count)])
        addresses = [address for pod in pods for address in pod.addresses]
        assert len(addresses) == len(set(addresses)) == count * cluster.world.families
        pairs = list(zip(pods, pods[1:] + pods[:1], strict=True))
        mute = [pair for pair, heard in zip(pairs, at_once(lambda pair: cluster.meet(*pair), pairs), strict=True)
                if not heard]  # fmt: skip
        assert not mute
        at_once(cluster.remove, pods)
    finally:
        cluster.cri.remove_all()
    cluster.assert_nothing_left(before)
