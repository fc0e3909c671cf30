# SPDX-License-Identifier: Apache-2.0
"""Real containers of Debian's podman with its CNI backend, wired by podwire, in a node of the lab's."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from podwire_lab import images
from podwire_lab.command import CommandResult
from tests.runtimes.mirror import PORT
from tests.runtimes.world import CNI_BIN_DIR, CNI_CONF_DIR, ONESHOT, WITH_AGENT, World, at_once, world

# runc, since crun refuses mixed cgroups; no limit may be raised without CAP_SYS_RESOURCE; no journal to write to.
CONTAINERS_CONF = f"""\
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
[engine]
runtime = "/usr/sbin/runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{CNI_BIN_DIR}"]
network_config_dir = "{CNI_CONF_DIR}"
default_network = "lab"
"""


@dataclass(frozen=True)
class Container:
    """A running container and its addresses as podman was told them."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Podman:
    """podman in a node."""

    world: World

    def call(self, *arguments: str, check: bool = True) -> CommandResult:
        """One podman command."""
        return self.world.node.run("podman", "--storage-driver", "vfs", *arguments, check=check)

    def start(self, name: str) -> Container:
        """Run a container in the network of the plugin."""
        self.call("run", "--detach", "--name", name, "--cap-add", "NET_RAW", images.PAUSE)
        network = json.loads(self.call("inspect", name).output)[0]["NetworkSettings"]["Networks"]["lab"]
        addresses = (network["IPAddress"], network["GlobalIPv6Address"])
        return Container(name, tuple(address for address in addresses if address))

    def reaches(self, container: Container, address: str) -> bool:
        """Whether a ping in the container is answered."""
        return self.call("exec", container.name, "ping", "-c", "1", "-W", "10", address, check=False).ok

    def remove(self, container: Container) -> None:
        """Stop and remove a container."""
        self.call("rm", "--force", "--time", "0", container.name)


def skip_without_cni(podman: Podman) -> None:
    """Skip if this Debian builds podman without the CNI backend (5.4 of Debian 13); Debian 12 has it."""
    answer = podman.call("network", "ls", check=False)
    without = "cni support is not enabled in this build" in answer.error
    if without and platform.freedesktop_os_release().get("VERSION_ID") != "12":
        pytest.skip("Debian builds this podman without the CNI backend")


@pytest.fixture(scope="module", params=[*WITH_AGENT, ONESHOT[0]], ids=str)
def podman(request: pytest.FixtureRequest) -> Iterator[Podman]:
    """podman with each wiring."""
    with world(request.param) as made:
        made.node.write("/etc/containers/containers.conf", CONTAINERS_CONF)
        made.node.path("/root/image.tar").write_bytes(images.built().read_bytes())
        here = Podman(made)
        skip_without_cni(here)
        here.call("load", "--quiet", "--input", "/root/image.tar")
        yield here


@pytest.fixture
def start(podman: Podman) -> Iterator[Callable[[str], Container]]:
    """Starts containers that are gone after the test."""
    yield podman.start
    podman.call("rm", "--force", "--all", "--time", "0")


def test_containers_reach_each_other_the_gateway_and_the_outside(
    podman: Podman, start: Callable[[str], Container]
) -> None:
    one, two = start("one"), start("two")
    assert len(one.addresses) == len(two.addresses) == podman.world.families
    for here, other in ((one, two), (two, one)):
        for address in (*other.addresses, *podman.world.gateways, *podman.world.outside.addresses):
            assert podman.reaches(here, address), f"{here} does not reach {address}"
    for target, node in zip(podman.world.outside.addresses, podman.world.outside.seen_node, strict=True):
        seen = podman.call("exec", one.name, "nc", "-w", "10", target, str(PORT), check=False).output.strip()
        assert seen == node, f"{target} was called as {seen}"


def test_many_containers_at_once(podman: Podman, start: Callable[[str], Container]) -> None:
    count = 50 if podman.world.wiring == WITH_AGENT[0] else 8
    podman.remove(start("first"))  # what the first makes for all: bridge, firewall table
    before = podman.world.snapshot()
    containers = at_once(start, [f"many-{number}" for number in range(count)])
    addresses = [address for container in containers for address in container.addresses]
    assert len(addresses) == len(set(addresses)) == count * podman.world.families
    for address in addresses:
        assert podman.world.network.pings(address), f"the node does not reach {address}"
    assert podman.reaches(containers[0], containers[-1].addresses[0])
    at_once(podman.remove, containers)
    assert podman.world.left_behind(before) == []
    assert podman.world.files_in("/run/netns") == []
    assert podman.world.files_in("/var/lib/cni/results") == []
