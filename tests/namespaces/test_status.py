# SPDX-License-Identifier: Apache-2.0
"""`podwire status` on one node of a cluster: nodes, paths, pods, errors; with the agent and without it."""

from __future__ import annotations

import json
from typing import Any

from podwire import __version__
from tests.support.agent import PODWIRE
from tests.support.cluster import MakeCluster, Node
from tests.support.namespace import wait_until


def status(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(table(node, "-o", "json"))
    return found


def table(node: Node, *options: str) -> str:
    return node.host.run(str(PODWIRE), "status", "--socket", str(node.folder / "agent.sock"), *options).stdout


def ways(found: dict[str, Any]) -> dict[str, set[str]]:
    return {node["name"]: {way["path"] for way in node["paths"]} for node in found["nodes"]}


def test_every_node_shows_all_nodes_and_the_paths_to_them(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0, 1), family="dual")
    cluster.start_all()
    first, _, far = cluster.nodes
    cluster.add_pod(first, "one")
    found = status(first)
    assert ways(found) == {"node-0": {"local"}, "node-1": {"direct"}, "node-2": {"vxlan"}}
    assert ways(status(far)) == {"node-0": {"vxlan"}, "node-1": {"vxlan"}, "node-2": {"local"}}
    assert [node["name"] for node in found["nodes"] if node["own"]] == ["node-0"]
    rows = {node["name"]: node for node in found["nodes"]}
    assert rows["node-1"]["addresses"] == cluster.nodes[1].addresses()
    assert {way["range"] for way in rows["node-2"]["paths"]} == set(far.pod_cidrs())
    assert found["agent"]["ready"] and found["agent"]["version"] == __version__ and found["agent"]["failures"] == []
    assert found["pods"][0]["addresses"] == [first.ip("one", family) for family in (4, 6)]
    words = table(first)
    for text in (*far.addresses(), *far.pod_cidrs(), "podwire-vx4", first.ip("one", 4), f"agent {__version__}"):
        assert text in words


def test_what_the_kernel_has_is_shown_without_an_agent(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0, 1))
    cluster.start_all()
    first = cluster.nodes[0]
    cluster.add_pod(first, "one")
    assert first.agent
    first.agent.kill()
    found = status(first)
    assert found["agent"] is None and "no agent serves" in found["agent_problem"]
    assert {way["range"]: way["path"] for node in found["nodes"] for way in node["paths"]} == {
        "10.244.1.0/24": "direct",
        "10.244.2.0/24": "vxlan",
    }
    assert found["pods"][0]["addresses"] == [first.ip("one", 4)]
    words = table(first)
    assert "no agent serves" in words and first.ip("one", 4) in words and "192.168.30.11%eth0" in words


def test_the_last_errors_are_shown_with_their_time(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 1))
    first = cluster.nodes[0]
    cluster.start(first, tunnel="never")
    found = status(first)
    assert ways(found)["node-1"] == {"none"}
    assert "node-1 is not on-link" in found["agent"]["problems"][0]
    assert [failure["about"] for failure in found["agent"]["failures"]] == ["node"]
    first.file.write_text("mode = 7\n")
    assert wait_until(lambda: "podwire.toml:1" in status(first)["agent"]["failures"][-1]["words"])
    assert "last error (node) 20" in table(first) and "unreachable: " in table(first)
