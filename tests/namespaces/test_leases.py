# SPDX-License-Identifier: Apache-2.0
"""Leases: no address leaks, none is leased twice, none is leased again before all others of its range."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

SUBNET = "10.44.0.0/24"
SMALL = "10.44.1.0/28"
ROOM = 253
SMALL_ROOM = 13  # 16 less network, gateway, broadcast
BATCH = 50


@pytest.fixture(params=["agent", "oneshot"])
def either(request: pytest.FixtureRequest, bin_dir: Path, host: Host, tmp_path: Path) -> Iterator[Plugin]:
    """podwire answered by the agent, and podwire alone."""
    if request.param == "oneshot":
        yield Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(tmp_path / "none.sock")})
        return
    with Agent(host) as agent:
        yield Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})


def _config(subnet: str, mode: str = "routed", **more: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "leases", "type": "podwire", "mode": mode, "subnet": subnet, **more}


def _add(plugin: Plugin, config: dict[str, Any], pod: Namespace, ifname: str = "eth0") -> str:
    outcome = plugin.cni_add(config, pod.name, pod.path, ifname)
    assert outcome.ok, outcome
    return str(outcome.document["ips"][0]["address"].partition("/")[0])


def _veths(host: Namespace) -> int:
    return sum(row.get("linkinfo", {}).get("info_kind") == "veth" for row in host.links().values())


@pytest.mark.failure_mode("addresses leak until none is left")
@pytest.mark.line("leases")
@pytest.mark.parametrize(("mode", "count"), [("routed", 1000), ("bridge", 300)])
def test_vanished_pods_leak_nothing(plugin: Plugin, host: Host, mode: str, count: int) -> None:
    """Namespaces that vanish without DEL give their addresses back: a /24 never runs out."""
    config = _config(SUBNET, mode)
    seen: Counter[str] = Counter()
    for _ in range(count // BATCH):
        pods = [Namespace() for _ in range(BATCH)]
        try:
            with ThreadPoolExecutor(8) as pool:
                addresses = list(pool.map(lambda pod: _add(plugin, config, pod), pods))
        finally:
            for pod in pods:
                pod.delete()
        assert len(set(addresses)) == BATCH
        seen.update(addresses)
    assert len(seen) == ROOM and set(seen.values()) <= {count // ROOM, count // ROOM + 1}, "each in its turn"
    assert wait_until(lambda: _veths(host) == 0)
    left = [row for row in host.routes(4) if row["dst"].startswith("10.44.0.") and row["dst"] != SUBNET]
    assert not left


def _round(
    plugin: Plugin, config: dict[str, Any], pod: Namespace, count: int, between: Callable[[int], None]
) -> list[str]:
    addresses = []
    for number in range(count):
        addresses.append(_add(plugin, config, pod))
        outcome = plugin.cni_del(config, pod.name, pod.path)
        assert outcome.ok, outcome
        between(number)
    return addresses


def _gaps(addresses: list[str]) -> list[int]:
    """How many other ADDs lay between an address and its next use."""
    last: dict[str, int] = {}
    gaps = []
    for position, address in enumerate(addresses):
        if address in last:
            gaps.append(position - last[address])
        last[address] = position
    return gaps


@pytest.mark.failure_mode("an address reused too fast")
@pytest.mark.line("leases")
@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_an_address_is_leased_again_after_all_others(either: Plugin, pod: Namespace, mode: str) -> None:
    """Add and delete one pod again and again: every address of the range is used before one is used again."""
    addresses = _round(either, _config(SMALL, mode), pod, 2 * SMALL_ROOM + 3, lambda _: None)
    assert set(addresses[:SMALL_ROOM]) == set(addresses)
    assert min(_gaps(addresses)) >= SMALL_ROOM


@pytest.mark.failure_mode("an address reused too fast")
@pytest.mark.line("leases")
def test_rotation_beside_living_pods(either: Plugin, new_namespace: Callable[[], Namespace]) -> None:
    """With other pods alive, the free addresses are still leased in turn."""
    config, alive = _config(SMALL), [new_namespace() for _ in range(4)]
    held = {_add(either, config, pod) for pod in alive}
    free = SMALL_ROOM - len(held)
    addresses = _round(either, config, new_namespace(), 2 * free + 2, lambda _: None)
    assert not held & set(addresses)
    assert min(_gaps(addresses)) >= free


@pytest.mark.failure_mode("an address reused too fast")
@pytest.mark.line("leases")
def test_rotation_while_other_devices_come(either: Plugin, host: Host, pod: Namespace) -> None:
    """Devices of others that take interface indexes meanwhile do not bring an address back early."""

    def others(number: int) -> None:
        for index in range(number % 5):
            name = f"other{number}x{index}"
            host.run("ip", "link", "add", name, "type", "bridge")
            if index % 2:
                host.run("ip", "link", "del", name)

    addresses = _round(either, _config(SMALL), pod, 2 * SMALL_ROOM, others)
    assert min(_gaps(addresses)) >= SMALL_ROOM


@pytest.mark.failure_mode("an address reused too fast")
@pytest.mark.line("leases")
def test_rotation_in_both_families(either: Plugin, pod: Namespace) -> None:
    """IPv6 leases rotate as IPv4 ones do, and a pod's two addresses need not be alike."""
    config = _config("10.44.1.0/28,fd00:44::/124")
    results = []
    for _ in range(28):
        outcome = either.cni_add(config, pod.name, pod.path)
        assert outcome.ok, outcome
        results.append([each["address"].partition("/")[0] for each in outcome.document["ips"]])
        assert either.cni_del(config, pod.name, pod.path).ok
    for family in (0, 1):
        assert min(_gaps([result[family] for result in results])) >= 13


@pytest.mark.line("leases")
def test_a_range_can_be_used_to_the_last_address(either: Plugin, new_namespace: Callable[[], Namespace]) -> None:
    """Every address but network, gateway and broadcast is given out; then the ADD fails; one DEL makes room."""
    config = _config("10.44.1.0/28")
    pods = [new_namespace() for _ in range(13)]
    addresses = {_add(either, config, pod) for pod in pods}
    assert addresses == {f"10.44.1.{number}" for number in range(2, 15)}
    late = new_namespace()
    outcome = either.cni_add(config, late.name, late.path)
    assert not outcome.ok
    assert "full" in outcome.message
    assert either.cni_del(config, pods[4].name, pods[4].path).ok
    assert _add(either, config, late) in addresses


@pytest.mark.line("leases", "agent", "containerd")
@pytest.mark.parametrize("subnet", [SUBNET, "10.44.1.0/27"], ids=["roomy", "nearly full"])
def test_twenty_at_once_by_agent_and_alone(
    plugin: Plugin, oneshot_plugin: Plugin, host: Host, subnet: str, new_namespace: Callable[[], Namespace]
) -> None:
    """Twenty ADDs at once, every other one without the agent: each has an address of its own, and all answer."""
    config = _config(subnet)
    pods = [new_namespace() for _ in range(20)]
    barrier = threading.Barrier(len(pods))

    def add(number: int) -> str:
        barrier.wait()
        return _add((plugin, oneshot_plugin)[number % 2], config, pods[number])

    with ThreadPoolExecutor(len(pods)) as pool:
        addresses = list(pool.map(add, range(len(pods))))
    assert len(set(addresses)) == len(pods)
    assert addresses and all(host.pings(address) for address in addresses)
    assert sorted(addresses) == sorted(each.partition("/")[0] for pod in pods for each in pod.addresses("eth0"))


@pytest.mark.line("leases", 20)
def test_one_free_address_and_many_takers(
    plugin: Plugin, oneshot_plugin: Plugin, new_namespace: Callable[[], Namespace]
) -> None:
    """Eight ADDs at once for the one address that is left: one gets it, the others are told that the range is full."""
    config = _config("10.44.1.0/30")
    pods = [new_namespace() for _ in range(8)]
    barrier = threading.Barrier(len(pods))

    def add(number: int) -> Any:
        barrier.wait()
        return (plugin, oneshot_plugin)[number % 2].cni_add(config, pods[number].name, pods[number].path)

    with ThreadPoolExecutor(len(pods)) as pool:
        outcomes = list(pool.map(add, range(len(pods))))
    winners = [number for number, outcome in enumerate(outcomes) if outcome.ok]
    assert len(winners) == 1, "\n".join(map(str, outcomes))
    losers = [outcome for outcome in outcomes if not outcome.ok]
    assert losers and all("full" in outcome.message for outcome in losers), "\n".join(map(str, outcomes))
    assert [pod.addresses("eth0") != [] for pod in pods].count(True) == 1


@pytest.mark.line("leases")
def test_networks_share_no_address(plugin: Plugin, new_namespace: Callable[[], Namespace]) -> None:
    """Two networks over one range: the kernel is one database, so no address is given twice."""
    pods = [new_namespace() for _ in range(12)]
    addresses = [_add(plugin, _config(SUBNET, name=f"net{number % 2}"), pod) for number, pod in enumerate(pods)]
    assert len(set(addresses)) == len(pods)
