# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of an agent that follows the API server: status, health, metrics, the common file's changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podwire import __version__
from tests.cluster.access import NODES
from tests.cluster.scripted import Scripted
from tests.cluster.world import OWN, OWN_RANGES, World, add_own, add_peer
from tests.support.agent import PODWIRE
from tests.support.http import labels
from tests.support.namespace import Host, Namespace, wait_until

HTTP = ("--http", "127.0.0.1:0")


def test_bad_nodes_are_shown_with_what_is_wrong(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.api.add_node("bare", ["192.168.30.30"], [])
    world.api.add_node("lost", ["192.168.30.31"], ["10.99.0.0/24"])
    world.api.add_node("silent", [], ["10.244.33.0/24"])
    world.start(*HTTP)
    assert wait_until(lambda: world.node("node-1").get("paths", [{}])[0].get("path") == "direct"), world.log()
    expected = {"bare": "PodCIDRNotAssigned", "lost": "PodCIDROutsideCluster", "silent": "AddressMissing"}
    for name, reason in expected.items():
        row = world.node(name)
        assert row["problem"].startswith(reason)
        assert {way["path"] for way in row["paths"]} <= {"none"}
    assert world.node("node-1")["problem"] == "" and world.node(OWN)["own"]
    assert world.metrics()["podwire_kubernetes_bad_nodes"][labels()] == 3
    assert world.page("readyz").status == 200
    add_peer(world.api, 2, "192.168.30.40")
    world.api.add_node("twin", ["192.168.30.41"], ["10.244.2.0/25"])
    assert wait_until(lambda: "twin" in str(world.node("node-2")) or "node-2" in str(world.node("twin")["problem"]))
    assert len([node for node in world.status()["nodes"] if "PodCIDRConflict" in node["problem"]]) == 1
    shown = world.host.run(str(PODWIRE), "status", "--socket", str(world.folder / "agent.sock")).stdout
    assert "node lost: PodCIDROutsideCluster: podCIDR 10.99.0.0/24 lies outside" in shown


def test_a_node_that_changed_its_address_is_shown_with_both(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.start()
    assert wait_until(lambda: world.node("node-1").get("addresses") == ["192.168.30.11"]), world.log()
    addresses = [{"type": "InternalIP", "address": "192.168.30.77"}]
    world.api.patch_status("node-1", {"addresses": addresses}, "merge-patch")
    assert wait_until(lambda: world.node("node-1")["paths"][0]["via"] == "192.168.30.77"), world.log()
    assert world.node("node-1")["addresses"] == ["192.168.30.77"]
    assert "changed its address from 192.168.30.11 to 192.168.30.77" in world.node("node-1")["last_change"]
    world.api.delete_node("node-1")
    assert wait_until(lambda: world.node("node-1") == {})


def test_every_agent_tells_its_version_and_knows_the_others(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.start()

    def told() -> str:
        metadata = world.api.request("GET", f"{NODES}/{OWN}")["metadata"]
        return str(metadata.get("annotations", {}).get("podwire.dev/version", ""))

    assert wait_until(lambda: told() == __version__), world.log()
    before = world.ways()
    world.api.patch_node("node-1", {"metadata": {"annotations": {"podwire.dev/version": "9.9.9"}}})
    assert wait_until(lambda: world.node("node-1")["version"] == "9.9.9"), world.log()
    assert world.node(OWN)["version"] == __version__ and world.ways() == before


def test_the_common_file_is_read_again_and_a_broken_one_changes_nothing(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.start()
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.11"}), world.log()
    world.write_common('[tunnel]\nwhen = "sometimes"\n')
    assert world.says("common.toml:5: tunnel.when: "), world.log()
    assert world.ways() == {"10.244.1.0/24": "192.168.30.11"}
    assert "common.toml:5" in next(
        failure["words"] for failure in world.status()["agent"]["failures"] if failure["about"] == "node"
    )
    world.write_common('[tunnel]\nwhen = "always"\n')
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "10.244.1.1"}), world.log()
    assert world.node("node-1")["paths"][0]["path"] == "vxlan"
    world.write_common()
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.11"}), world.log()
    assert wait_until(lambda: world.host.link("podwire-vx4") is None)


def test_readiness_and_metrics_follow_the_api_server(world: World) -> None:
    add_own(world.api)
    world.api.stop()
    world.start(*HTTP)
    assert wait_until(lambda: "no Nodes are known yet: " in world.page("readyz").text), world.log()
    assert world.page("readyz").status == 503 and world.page("healthz").status == 200
    assert not world.status()["agent"]["ready"] and "no Nodes are known" in world.status()["agent"]["reason"]
    assert not world.conflist.exists()
    world.api.start()
    assert wait_until(lambda: world.page("readyz").status == 200, 60), world.log()
    asked = world.metrics()["podwire_kubernetes_requests_total"]
    assert asked[labels(method="GET", code="error")] >= 1 and asked[labels(method="GET", code="200")] >= 1
    assert wait_until(
        lambda: labels(method="PATCH", code="200") in world.metrics()["podwire_kubernetes_requests_total"]
    )
    assert world.metrics()["podwire_addresses_total"][labels(range=OWN_RANGES[0])] == 253
    world.api.stop()
    lag = world.metrics()["podwire_kubernetes_watch_lag_seconds"][labels()]
    assert wait_until(lambda: world.metrics()["podwire_kubernetes_watch_lag_seconds"][labels()] > lag + 1)
    assert world.page("readyz").status == 200, "pods can be started without it"
    assert wait_until(lambda: "kubernetes" in [failure["about"] for failure in world.status()["agent"]["failures"]])


@pytest.fixture
def rebooted() -> Iterator[Host]:
    """The node's network namespace after a boot."""
    with Host() as host:
        World.connect(host)
        yield host


@pytest.mark.parametrize("api", ["scripted"], indirect=True)  # it can move into the new namespace
def test_a_node_that_boots_while_the_api_server_is_away_starts_pods(
    world: World, rebooted: Host, bin_dir: Path, new_namespace: Callable[[], Namespace]
) -> None:
    assert isinstance(world.api, Scripted)
    add_own(world.api)
    add_peer(world.api, 1)
    agent = world.start()
    assert wait_until(lambda: world.conflist.exists() and len(world.ways()) == 1), world.log()
    written = world.conflist.read_bytes()
    agent.kill()
    world.api.stop()
    world.host = rebooted
    world.start(*HTTP)
    first, second = new_namespace(), new_namespace()
    world.add_pod(bin_dir, first, "first")
    world.add_pod(bin_dir, second, "second")
    assert first.pings(second.addresses()[0].partition("/")[0]), "pods of the node reach each other"
    assert world.page("readyz").status == 200 and world.conflist.read_bytes() == written
    assert world.ways() == {}, "what leads to other nodes, only the API server knows"
    assert wait_until(lambda: "kubernetes" in [failure["about"] for failure in world.status()["agent"]["failures"]])
    assert len(world.status()["pods"]) == 2
    world.api.host = rebooted
    world.api.start()
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.11"}, 60), world.log()
    assert len(world.status()["pods"]) == 2 and world.page("readyz").status == 200
