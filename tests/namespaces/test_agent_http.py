# SPDX-License-Identifier: Apache-2.0
"""Metrics and health of an agent: they tell what is, follow what happens, and never stand in a call's way."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podwire import __version__
from tests.cluster.access import in_namespace
from tests.namespaces.ground import configuration
from tests.support.agent import Agent
from tests.support.http import Labels, get, labels, samples, served_at
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

FILE = """
name = "node-0"
addresses = ["192.168.30.10"]
pod_cidrs = ["10.244.1.0/24"]
cluster_cidrs = ["10.244.0.0/16"]
[cni]
conf_dir = "CONF"
[[peers]]
name = "near"
addresses = ["192.168.30.11"]
pod_cidrs = ["10.244.2.0/24"]
[[peers]]
name = "far"
addresses = ["192.168.99.11"]
pod_cidrs = ["10.244.3.0/24"]
[[peers]]
name = "lost"
addresses = ["192.168.99.12"]
pod_cidrs = ["10.244.4.0/24"]
tunnel = "never"
"""


class Watched:
    """An agent with a settings file and HTTP, the plugin that it answers, and its pages."""

    def __init__(self, host: Host, bin_dir: Path, folder: Path, address: str = "127.0.0.1:0") -> None:
        self.host = host
        self.conf_dir = folder / "net.d"
        file = folder / "podwire.toml"
        file.write_text(FILE.replace("CONF", str(self.conf_dir)))
        host.ip("link", "add", "eth0", "type", "bridge")
        host.ip("link", "set", "eth0", "up")
        host.ip("addr", "add", "192.168.30.10/24", "dev", "eth0")
        self.agent = Agent(host, folder, ["--config", str(file), "--http", address])
        self.plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(self.agent.socket)})
        self.url = served_at(self.agent.log)

    def metrics(self) -> dict[str, dict[Labels, float]]:
        page = get(self.host, f"{self.url}metrics")
        assert page.status == 200
        return samples(page.text)

    def value(self, name: str, **of: str) -> float:
        return self.metrics()[name][labels(**of)]

    def config(self) -> dict[str, object]:
        whole = json.loads((self.conf_dir / "10-podwire.conflist").read_text())
        return {"cniVersion": "1.0.0", "name": whole["name"], **whole["plugins"][0]}


@pytest.fixture
def watched(host: Host, bin_dir: Path, tmp_path: Path) -> Iterator[Watched]:
    made = Watched(host, bin_dir, tmp_path)
    yield made
    made.agent.stop()


def test_metrics_tell_of_calls_pods_addresses_and_peers(
    watched: Watched, new_namespace: Callable[[], Namespace]
) -> None:
    assert wait_until((watched.conf_dir / "10-podwire.conflist").exists)
    config, pods = watched.config(), [new_namespace() for _ in range(3)]
    for pod in pods:
        assert watched.plugin.cni_add(config, pod.name, pod.path).ok
    refused = watched.plugin.cni_add(config, pods[0].name, pods[0].path)
    assert watched.plugin.cni_del(config, pods[2].name, pods[2].path).ok
    assert wait_until(lambda: watched.value("podwire_cni_request_duration_seconds_count", verb="DEL") == 1)
    found = watched.metrics()
    assert found["podwire_build_info"] == {labels(version=__version__): 1}
    assert found["podwire_pods"][labels()] == 2
    assert found["podwire_addresses_total"] == {labels(range="10.244.1.0/24"): 253}
    assert found["podwire_addresses_free"] == {labels(range="10.244.1.0/24"): 251}
    paths = {labels(path="direct"): 1, labels(path="vxlan"): 1, labels(path="none"): 1}
    assert found["podwire_peers"] == paths
    durations = found["podwire_cni_request_duration_seconds_count"]
    assert durations[labels(verb="ADD")] == 4 and durations[labels(verb="DEL")] == 1
    assert found["podwire_cni_request_duration_seconds_bucket"][labels(verb="ADD", le="10.0")] == 4
    assert found["podwire_cni_request_duration_seconds_sum"][labels(verb="ADD")] > 0
    assert found["podwire_cni_failures_total"] == {labels(verb="ADD", code=str(refused.code)): 1}
    steps = found["podwire_cni_step_duration_seconds_count"]
    assert steps[labels(verb="ADD", step="lease")] == 3 and steps[labels(verb="DEL", step="device")] == 1
    assert found["process_resident_memory_bytes"][labels()] > 2**20
    pods[1].delete()
    assert wait_until(lambda: watched.value("podwire_pods") == 1), "what vanished without DEL is not counted"
    assert watched.value("podwire_addresses_free", range="10.244.1.0/24") == 252


def test_what_is_restored_is_counted(watched: Watched) -> None:
    watched.host.run("ip", "route", "del", "10.244.2.0/24")
    route, sysctl = labels(kind="route", reconciler="peers"), labels(kind="sysctl", reconciler="sysctls")
    assert wait_until(lambda: route in watched.metrics().get("podwire_restored_objects_total", {}))
    watched.host.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert wait_until(lambda: sysctl in watched.metrics()["podwire_restored_objects_total"])


def test_healthy_and_ready_and_nothing_else_is_there(watched: Watched) -> None:
    assert wait_until(lambda: get(watched.host, f"{watched.url}readyz").status == 200)
    for page in ("healthz", "readyz"):
        found = get(watched.host, watched.url + page)
        assert (found.status, found.text) == (200, "ok\n")
    assert get(watched.host, watched.url).status == 404
    assert get(watched.host, f"{watched.url}metrics", "HEAD").text == ""
    assert get(watched.host, f"{watched.url}metrics", "POST").status == 501


def test_an_agent_whose_socket_is_gone_is_not_alive(watched: Watched) -> None:
    assert wait_until(lambda: get(watched.host, f"{watched.url}readyz").status == 200)
    assert get(watched.host, f"{watched.url}healthz").status == 200
    watched.agent.socket.unlink()
    found = get(watched.host, f"{watched.url}healthz")
    assert found.status == 503 and str(watched.agent.socket) in found.text


def test_what_keeps_pods_from_starting_is_told(host: Host, bin_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "net.d").write_text("in the way")
    watched = Watched(host, bin_dir, tmp_path)
    try:
        words = "pods cannot be started until it can be written"
        assert wait_until(lambda: words in get(host, f"{watched.url}readyz").text), watched.agent.log.read_text()
        assert get(host, f"{watched.url}readyz").status == 503
        assert get(host, f"{watched.url}healthz").status == 200, "another agent would fare no better"
        watched.conf_dir.unlink()
        assert wait_until(lambda: get(host, f"{watched.url}readyz").status == 200)
        watched.config()
    finally:
        watched.agent.stop()


def test_an_ipv6_address_serves_as_well(host: Host, bin_dir: Path, tmp_path: Path) -> None:
    watched = Watched(host, bin_dir, tmp_path, "[::1]:0")
    try:
        assert watched.url.startswith("http://[::1]:")
        assert get(host, f"{watched.url}healthz").status == 200
    finally:
        watched.agent.stop()


def test_clients_that_say_nothing_hold_nobody_up(watched: Watched, pod: Namespace) -> None:
    host, port = watched.url.removeprefix("http://").rstrip("/").split(":")
    idle = [in_namespace(watched.host, lambda: socket.create_connection((host, int(port)))) for _ in range(40)]
    config = configuration("routed", (4,))
    assert watched.plugin.cni_add(config, "one", pod.path).ok
    assert watched.plugin.cni_del(config, "one", pod.path).ok
    for entry in idle:
        entry.close()
    assert wait_until(lambda: get(watched.host, f"{watched.url}healthz").status == 200)


def test_without_the_option_nothing_listens(host: Host, agent: Agent) -> None:
    assert agent.process.poll() is None
    assert host.run("ss", "-Hltn").stdout == ""
    assert "prometheus" not in Path(f"/proc/{agent.pid}/maps").read_text()
