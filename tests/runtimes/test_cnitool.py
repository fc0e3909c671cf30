# SPDX-License-Identifier: Apache-2.0
"""podwire called by cnitool, a client written elsewhere, with the reference portmap and bandwidth chained to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from podwire_lab.command import CommandResult
from tests.runtimes.mirror import Mirror, ask
from tests.runtimes.world import CNI_BIN_DIR, CNI_CONF_DIR, DUAL, ONESHOT, WITH_AGENT, World, bare, world
from tests.support.tools import tool

NODE_PORT, POD_PORT = 8080, 80
CNI_CACHE = "/var/lib/cni/results"
RATE_BITS_PER_SECOND, BURST_BITS = 80_000_000, 8_000_000
CHAINED = (
    {"type": "portmap", "capabilities": {"portMappings": True}},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
)
CAPABILITIES = {
    "portMappings": [{"hostPort": NODE_PORT, "containerPort": POD_PORT, "protocol": "tcp"}],
    "bandwidth": {"ingressRate": RATE_BITS_PER_SECOND, "ingressBurst": BURST_BITS},
}


@dataclass(frozen=True)
class Bench:
    """A node without a runtime: its pods are network namespaces, and cnitool calls the plugin."""

    world: World

    def tool(self, verb: str, pod: str, check: bool = True) -> CommandResult:
        """`cnitool VERB lab POD`."""
        variables = {"CNI_PATH": CNI_BIN_DIR, "NETCONFPATH": CNI_CONF_DIR, "CAP_ARGS": json.dumps(CAPABILITIES)}
        assignments = [f"{name}={value}" for name, value in variables.items()]
        argv = ("env", *assignments, str(tool("cnitool")), verb, "lab", f"/run/netns/{pod}")
        return self.world.node.run(*argv, check=check)

    def in_pod(self, pod: str, *argv: str) -> CommandResult:
        """Run a command in a pod."""
        return self.world.node.run("ip", "netns", "exec", pod, *argv, check=False)

    def netns(self, pod: str) -> Path:
        """The pod's network namespace, as a file that this process can open."""
        return self.world.node.path(f"/run/netns/{pod}")

    def interfaces(self, pod: str) -> list[str]:
        """The names of the interfaces in a pod."""
        rows = json.loads(self.in_pod(pod, "ip", "-j", "link").output)
        return [row["ifname"] for row in rows]

    def pod_limits(self) -> list[dict[str, Any]]:
        """The token bucket filters on the node's devices."""
        rows = json.loads(self.world.node.run("tc", "-j", "qdisc", "show").output)
        return [row for row in rows if row["kind"] == "tbf"]


@pytest.fixture(scope="module", params=[*WITH_AGENT, *ONESHOT], ids=str)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A node with two namespaces that play pods."""
    with world(request.param, *CHAINED) as made:
        for pod in ("one", "two"):
            made.node.run("ip", "netns", "add", pod)
        yield Bench(made)


@pytest.fixture
def added(bench: Bench) -> Iterator[dict[str, Any]]:
    """Both pods wired; the result of the first."""
    try:
        bench.tool("add", "two")
        yield json.loads(bench.tool("add", "one").output)
    finally:
        for pod in ("one", "two"):
            bench.tool("del", pod, check=False)


def test_added_pods_reach_each_other(bench: Bench, added: dict[str, Any]) -> None:
    address = [bare(each["address"]) for each in added["ips"]]
    assert len(address) == bench.world.families
    for each in address:
        assert bench.in_pod("two", "ping", "-c", "1", "-W", "10", each).ok


def test_check_is_content_until_something_is_missing(bench: Bench, added: dict[str, Any]) -> None:
    assert bench.tool("check", "one", check=False).ok
    bench.in_pod("one", "ip", "address", "flush", "dev", "eth0", "scope", "global")
    broken = bench.tool("check", "one", check=False)
    assert not broken.ok
    assert bare(added["ips"][0]["address"]) in broken.error + broken.output


@pytest.mark.parametrize("family", range(len(DUAL)), ids=["v4", "v6"])
def test_portmap_leads_from_the_node_to_the_pod(bench: Bench, added: dict[str, Any], family: int) -> None:
    bench.tool("del", "two")  # both asked for the same port: leave it to the one that is called
    outside = bench.world.outside
    with Mirror(bench.netns("one"), POD_PORT):
        assert ask(outside.host.netns_path, outside.seen_node[family], NODE_PORT) == outside.addresses[family]


def test_bandwidth_limits_the_pods_host_device(bench: Bench, added: dict[str, Any]) -> None:
    limits = bench.pod_limits()
    host_devices = {each["name"] for each in added["interfaces"] if not each.get("sandbox")}
    mine = [limit for limit in limits if limit["dev"] in host_devices]
    assert [limit["options"]["rate"] for limit in mine] == [RATE_BITS_PER_SECOND // 8]


def test_status_says_that_it_works(bench: Bench) -> None:
    assert bench.tool("status", "one", check=False).ok


def test_del_leaves_nothing(bench: Bench) -> None:
    bench.tool("add", "one")
    bench.tool("del", "one")  # what the first pod makes for all is there now
    before = bench.world.snapshot()
    for pod in ("one", "two"):
        bench.tool("add", pod)
    for pod in ("one", "two"):
        bench.tool("del", pod)
        assert bench.interfaces(pod) == ["lo"]
        bench.tool("del", pod)  # once more is no error
    assert bench.world.left_behind(before) == []


def test_gc_of_cnitool(bench: Bench) -> None:
    """cnitool's gc is a DEL of all that it knows, then a GC that names no list of what to keep.

    podwire takes a missing list for a mistake and removes nothing of its own accord (an empty list removes all).
    """
    for pod in ("one", "two"):
        bench.tool("add", pod)
    for file in bench.world.node.path(CNI_CACHE).glob(f"*{_container('two')}*"):
        file.unlink()
    answer = bench.tool("gc", "one", check=False)
    assert "cni.dev/valid-attachments" in answer.error
    assert [bench.interfaces(pod) for pod in ("one", "two")] == [["lo"], ["lo", "eth0"]]
    for pod in ("one", "two"):
        bench.tool("del", pod)


def _container(pod: str) -> str:
    """The container ID that cnitool makes of a namespace's path."""
    return f"cnitool-{hashlib.sha512(f'/run/netns/{pod}'.encode()).hexdigest()[:20]}"
