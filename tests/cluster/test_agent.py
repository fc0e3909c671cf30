# SPDX-License-Identifier: Apache-2.0
"""The agent follows the API server: routes come and go with Nodes, and nothing breaks while the server is away."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.scripted import Scripted
from tests.cluster.world import OWN, OWN_ADDRESSES, OWN_RANGES, World, add_own, add_peer
from tests.support.namespace import Namespace, wait_until
from tests.support.plugin import Plugin


def test_routes_come_and_go_with_nodes(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.start()
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.11"}), world.log()
    add_peer(world.api, 2)
    assert wait_until(lambda: world.ways().get("10.244.2.0/24") == "192.168.30.12"), world.log()
    world.api.delete_node("node-1")
    assert wait_until(lambda: list(world.ways()) == ["10.244.2.0/24"]), world.log()
    world.api.patch_status("node-2", {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "Gone"}]})
    add_peer(world.api, 3)
    assert wait_until(lambda: "10.244.3.0/24" in world.ways()), world.log()
    assert "10.244.2.0/24" in world.ways(), "a Node that is not ready keeps its routes"


def test_peers_elsewhere_and_of_both_families(world: World) -> None:
    add_own(world.api)
    world.api.add_node("far", ["192.168.99.5", "fd00:99::5"], ["10.244.7.0/24", "fd00:10:244:7::/64"])
    world.api.add_node("near", ["192.168.30.8", "fd00:192:168:30::8"], ["10.244.8.0/24", "fd00:10:244:8::/64"])
    world.start()
    assert wait_until(lambda: len(world.ways(4)) == 2 and len(world.ways(6)) == 2), world.log()
    assert world.ways(6)["fd00:10:244:8::/64"] == "fd00:192:168:30::8"
    assert world.host.link("podwire-vx4")


@pytest.mark.failure_mode("a node is Ready before its network is")
def test_the_node_becomes_ready_for_pods_and_says_so(
    world: World, bin_dir: Path, new_namespace: Callable[[], Namespace]
) -> None:
    world.api.add_node(OWN, OWN_ADDRESSES, [])
    agent = world.start()
    assert world.says("has no podCIDR"), world.log()
    assert wait_until(lambda: bool(world.api.events("PodCIDRNotAssigned")))
    told = world.api.events("PodCIDRNotAssigned")[0]
    assert told["involvedObject"]["name"] == OWN and told["type"] == "Warning"
    assert not world.conflist.exists() and not world.api.condition(OWN, "NetworkUnavailable")
    world.api.patch_node(OWN, {"spec": {"podCIDR": OWN_RANGES[0], "podCIDRs": OWN_RANGES}})
    assert wait_until(world.conflist.exists), world.log()
    assert wait_until(lambda: world.api.condition(OWN, "NetworkUnavailable").get("status") == "False"), world.log()
    assert world.api.condition(OWN, "NetworkUnavailable")["reason"] == "PodwireIsUp"
    assert world.api.condition(OWN, "Ready")["status"] == "True", "other conditions stay as they are"
    assert world.says("over: PodCIDRNotAssigned")
    world.add_pod(bin_dir, new_namespace(), "one")
    agent.stop()
    assert world.conflist.exists(), "it stays: runtimes need it to remove pods"


def test_a_condition_that_somebody_takes_away_comes_back(world: World) -> None:
    add_own(world.api)
    world.start()
    assert wait_until(lambda: world.api.condition(OWN, "NetworkUnavailable").get("status") == "False"), world.log()
    taken = {"type": "NetworkUnavailable", "status": "True", "reason": "NoRouteCreated"}
    world.api.patch_status(OWN, {"conditions": [taken]})
    assert wait_until(lambda: world.api.condition(OWN, "NetworkUnavailable").get("status") == "False", 60), world.log()


def test_a_watch_that_is_too_old_begins_anew(world: World) -> None:
    add_own(world.api)
    for number in (1, 2):
        add_peer(world.api, number)
    agent = world.start()
    assert wait_until(lambda: len(world.ways()) == 2), world.log()
    os.kill(agent.pid, signal.SIGSTOP)
    try:
        world.api.stop()
        world.api.start()
        world.api.delete_node("node-1")
        add_peer(world.api, 3)
        world.api.forget()
    finally:
        os.kill(agent.pid, signal.SIGCONT)
    assert wait_until(lambda: set(world.ways()) == {"10.244.2.0/24", "10.244.3.0/24"}, 60), world.log()
    assert "too old" in world.log()


def test_while_the_api_server_is_away_everything_goes_on(
    world: World, bin_dir: Path, new_namespace: Callable[[], Namespace]
) -> None:
    add_own(world.api)
    for number in (1, 2):
        add_peer(world.api, number)
    agent = world.start()
    assert wait_until(lambda: len(world.ways()) == 2 and world.conflist.exists()), world.log()
    before = (world.ways(), world.conflist.read_bytes())
    world.api.stop()
    world.add_pod(bin_dir, new_namespace(), "without-server")
    world.host.run("ip", "route", "del", "10.244.1.0/24")
    assert wait_until(lambda: world.ways() == before[0]), "what somebody breaks is restored without it"
    agent.kill()
    world.start()
    world.add_pod(bin_dir, new_namespace(), "without-server-after-restart")
    assert world.says("watch failed"), world.log()
    assert (world.ways(), world.conflist.read_bytes()) == before, "nothing is removed before the first full list"
    world.api.start()
    world.api.delete_node("node-1")
    add_peer(world.api, 3)
    assert wait_until(lambda: set(world.ways()) == {"10.244.2.0/24", "10.244.3.0/24"}, 60), world.log()


def test_a_node_that_joins_again_gives_no_addresses_of_its_old_range(
    world: World, bin_dir: Path, new_namespace: Callable[[], Namespace]
) -> None:
    """The configuration of before is still there, and a runtime may have read it: another node may own its range."""
    add_own(world.api)
    agent = world.start()
    assert wait_until(world.conflist.exists), world.log()
    old = json.loads(world.conflist.read_text())
    agent.stop()
    world.api.delete_node(OWN)
    world.api.add_node(OWN, OWN_ADDRESSES, ["10.244.9.0/24", "fd00:10:244:9::/64"])
    agent = world.start()
    plugin = Plugin(bin_dir / "podwire", world.host, environment={"PODWIRE_SOCKET": str(agent.socket)})
    pod = new_namespace()
    refused = plugin.call("ADD", _alone(old), "again", pod.path, ifname="eth0")
    assert refused.code == 11 and "10.244.0.0/24" in refused.message, refused
    assert wait_until(lambda: json.loads(world.conflist.read_text()) != old), world.log()
    world.add_pod(bin_dir, pod, "again")
    assert pod.addresses()[0].startswith("10.244.9.")


def _alone(conflist: dict[str, Any]) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": conflist["name"], **conflist["plugins"][0]}


def test_after_a_reboot_without_the_api_server_new_pods_start(
    world: World, bin_dir: Path, new_namespace: Callable[[], Namespace]
) -> None:
    add_own(world.api)
    agent = world.start()
    assert wait_until(world.conflist.exists), world.log()
    written = world.conflist.read_bytes()
    agent.kill()
    world.api.stop()
    world.host.run("ip", "link", "del", "podwire0")
    world.host.run("nft", "flush", "ruleset")
    world.host.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    world.start()
    assert wait_until(lambda: world.host.link("podwire0") is not None), "the written configuration's network is there"
    world.add_pod(bin_dir, new_namespace(), "after-the-reboot")
    assert world.host.sysctl("net.ipv4.ip_forward") == "1" and world.conflist.read_bytes() == written


def test_bad_nodes_are_reported_and_the_others_are_not_affected(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.api.add_node("bare", ["192.168.30.30"], [])
    world.api.add_node("lost", ["192.168.30.31"], ["10.99.0.0/24"])
    world.api.add_node("twin", ["192.168.30.32"], ["10.244.1.0/24"])
    world.api.add_node("silent", [], ["10.244.33.0/24"])
    world.start()
    expected = {"PodCIDRNotAssigned": "bare", "PodCIDROutsideCluster": "lost", "AddressMissing": "silent"}
    for reason, name in expected.items():
        assert world.says(f"node {name}: {reason}"), world.log()
        assert wait_until(lambda: bool(world.api.events(reason))), (reason, world.log())  # noqa: B023
        assert [event["involvedObject"]["name"] for event in world.api.events(reason)] == [name]
    assert world.says("PodCIDRConflict"), world.log()
    assert wait_until(lambda: bool(world.api.events("PodCIDRConflict")))
    loser = world.api.events("PodCIDRConflict")[0]["involvedObject"]["name"]
    winner = {"node-1": "192.168.30.32", "twin": "192.168.30.11"}[loser]
    assert world.ways() == {"10.244.1.0/24": winner}
    assert world.api.condition(OWN, "NetworkUnavailable")["status"] == "False"
    add_peer(world.api, 5)
    assert wait_until(lambda: "10.244.5.0/24" in world.ways()), world.log()


def test_a_node_that_changes_its_address_is_followed_and_told_of(world: World) -> None:
    add_own(world.api)
    add_peer(world.api, 1)
    world.start()
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.11"}), world.log()
    addresses = [{"type": "InternalIP", "address": "192.168.30.77"}]
    world.api.patch_status("node-1", {"addresses": addresses}, "merge-patch")
    assert wait_until(lambda: world.ways() == {"10.244.1.0/24": "192.168.30.77"}), world.log()
    assert wait_until(lambda: bool(world.api.events("AddressChanged"))), world.log()
    assert "192.168.30.77" in world.api.events("AddressChanged")[0]["message"]


@pytest.mark.parametrize("api", ["scripted"], indirect=True)  # the real one reads its file of tokens only once
def test_a_token_that_is_renewed_is_read_again(world: World) -> None:
    assert isinstance(world.api, Scripted)
    add_own(world.api)
    agent = world.start()
    assert wait_until(world.conflist.exists), world.log()
    world.api.stop()
    world.api.token = "second-token"  # noqa: S105  # a test's own
    world.api.token_file.write_text("second-token")
    world.api.start()
    add_peer(world.api, 1)
    assert wait_until(lambda: len(world.ways()) == 1, 60), world.log()
    assert agent.process.poll() is None
