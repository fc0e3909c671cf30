# SPDX-License-Identifier: Apache-2.0
"""A DEL that the native shim carries out alone, read back with iproute2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import shim as shims
from tests.support.namespace import Host, Namespace
from tests.support.shim import FakeAgent

CONFIG = b'{"cniVersion": "1.1.0", "name": "net"}'


@pytest.fixture(scope="module", params=shims.BUILDS)
def shim(request: pytest.FixtureRequest) -> Iterator[Path]:
    yield shims.build(request.param)


@pytest.fixture(scope="module", autouse=True)
def _builds() -> Iterator[None]:
    yield
    shims.remove_builds()


@pytest.fixture
def wired(host: Host, pod: Namespace) -> Namespace:
    """A pod whose eth0 is a veth to `host`."""
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "pwtest0", "netns", host.name)
    return pod


def delete(shim: Path, netns: Namespace, more: dict[str, str]) -> tuple[int, bytes]:
    environment = {"CNI_COMMAND": "DEL", "CNI_NETNS": str(netns.path), "CNI_IFNAME": "eth0"}
    done = shims.run(shim, environment | more, CONFIG)
    assert done.stderr == b""
    return done.returncode, done.stdout


@pytest.mark.failure_mode("DEL fails while the agent is down")
def test_no_agent_removes_the_veth_again_and_again(shim: Path, host: Host, wired: Namespace, tmp_path: Path) -> None:
    nobody = {"PODWIRE_SOCKET": str(tmp_path / "agent.sock")}
    assert delete(shim, wired, nobody) == (0, b"")
    assert set(wired.links()) == {"lo"} and set(host.links()) == {"lo"}
    assert delete(shim, wired, nobody) == (0, b"")


@pytest.mark.failure_mode("DEL fails while the agent is down")
def test_silent_agent_removes_the_veth(shim: Path, host: Host, wired: Namespace, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, lambda connection: connection.recv(1)) as agent:
        assert delete(shim, wired, agent.environment | {"PODWIRE_DEADLINE_MS": "200"}) == (0, b"")
    assert set(host.links()) == {"lo"}


@pytest.mark.failure_mode("DEL fails while the agent is down")
def test_agent_that_ends_removes_the_veth(shim: Path, host: Host, wired: Namespace, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, lambda _: None) as agent:
        assert delete(shim, wired, agent.environment) == (0, b"")
    assert set(host.links()) == {"lo"}


def test_a_device_that_is_no_veth_stays(shim: Path, pod: Namespace, tmp_path: Path) -> None:
    pod.ip("link", "add", "eth0", "type", "bridge")
    assert delete(shim, pod, {"PODWIRE_SOCKET": str(tmp_path / "agent.sock")}) == (0, b"")
    assert set(pod.links()) == {"lo", "eth0"}


@pytest.mark.parametrize("ifname", ["", "eth1", "a-name-that-is-too-long"])
def test_other_interfaces_stay(shim: Path, wired: Namespace, tmp_path: Path, ifname: str) -> None:
    nobody = {"PODWIRE_SOCKET": str(tmp_path / "agent.sock"), "CNI_IFNAME": ifname}
    assert delete(shim, wired, nobody) == (0, b"")
    assert set(wired.links()) == {"lo", "eth0"}


def test_the_nodes_own_namespace_is_refused(
    shim: Path, host: Host, wired: Namespace, new_namespace: Callable[[], Namespace], tmp_path: Path
) -> None:
    """`wired` plays the node: its eth0 is the node's way out."""
    environment = {
        "CNI_COMMAND": "DEL",
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_IFNAME": "eth0",
        "PODWIRE_SOCKET": str(tmp_path / "agent.sock"),
    }
    inside = wired.argv()
    done = shims.run(shim, environment, CONFIG, wrapper=inside)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 8)
    assert "eth0" in wired.links()
    done = shims.run(shim, environment | {"CNI_NETNS_OVERRIDE": "true"}, CONFIG, wrapper=inside)
    assert (done.returncode, done.stdout) == (0, b"")
    assert set(host.links()) == {"lo"}
