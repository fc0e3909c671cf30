# SPDX-License-Identifier: Apache-2.0
"""A node with containerd and a plugin: pods as a kubelet makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from podwire_lab import runtime
from podwire_lab.containerd import Containerd
from podwire_lab.cri import Cri, Pod
from tests.runtimes.world import Wiring, World, world
from tests.support.snapshot import Snapshot


@dataclass(frozen=True)
class Cluster:
    """One node with a runtime."""

    world: World
    cri: Cri

    def reaches(self, pod: Pod, address: str) -> bool:
        """Whether a ping in the pod is answered."""
        return self.cri.exec(pod, "ping", "-c", "1", "-W", "10", address).ok

    def remove(self, pod: Pod) -> None:
        """As a kubelet removes a pod."""
        self.cri.stop(pod.sandbox)
        self.cri.remove(pod.sandbox)

    def meet(self, pod: Pod, other: Pod) -> bool:
        """Whether a pod reaches another in each family."""
        return all(self.reaches(pod, address) for address in other.addresses)

    def assert_nothing_left(self, before: Snapshot) -> None:
        """After the last pod: the network is what it was, the runtime knows nothing, no file is left."""
        assert self.world.left_behind(before) == []
        assert self.cri.sandboxes() == []
        assert self.world.files_in("/run/netns") == []
        assert self.world.files_in("/var/lib/cni/results") == []


@contextmanager
def cluster_on(containerd: Containerd, wiring: Wiring) -> Iterator[Cluster]:
    """A cluster of one node, ready for pods."""
    with world(wiring) as made:
        cri = runtime.start(made.node, containerd)
        runtime.wait_until_ready(cri)
        yield Cluster(made, cri)
