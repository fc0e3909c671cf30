# SPDX-License-Identifier: Apache-2.0
"""From a drop point and the state of a namespace to a cause; and which probes run a second time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import podwire
from podwire.diagnose import probe_methods, probe_runner
from podwire.diagnose.causes import explain, explain_source
from podwire.diagnose.drop_point import DropPoint
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.namespaces import NamespaceThreadPool
from podwire.diagnose.network_state import Device, NetworkState, Route
from podwire.diagnose.packet_loss import PacketLoss, hop_text
from podwire.diagnose.packets import Packet
from podwire.diagnose.plan import Outcome, Probe
from podwire.record import replace

POD, FAR = ip_address("10.1.0.5"), ip_address("10.2.0.5")
PROBE = Probe("pod", "far", FAR, "ping")
PACKET = Packet(POD, FAR, 1, type=8)
ETH0 = Device("eth0", True, True, 1500, "0a:00:00:00:00:01")
VETH = Device("pw1", True, True, 1500, "0a:00:00:00:00:02")
HOST = NetworkState(
    "node",
    4,
    "host",
    ("nsenter", "--net=/n"),
    Route("eth0", "192.0.2.2", "unicast"),
    devices={"eth0": ETH0, "pw1": VETH},
    sysctls={"net/ipv4/ip_forward": "1"},
)
DROPPING = {
    "chain": {
        "family": "ip",
        "table": "filter",
        "name": "FORWARD",
        "type": "filter",
        "hook": "forward",
        "policy": "drop",
    }
}
UNKNOWN = {
    "rule": {
        **{"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 3},
        "expr": [{"xt": {"type": "match", "name": "conntrack"}}, {"accept": None}],
    }
}


def inside(state: NetworkState, **more: Any) -> PacketLoss:
    return PacketLoss(PROBE, DropPoint("inside", "node", "", "request", "pw1", PACKET), state, to_pod=True, **more)


def changed(**changes: Any) -> NetworkState:
    return replace(HOST, **changes)


def test_a_loss_without_a_known_cause_is_reported_as_such() -> None:
    cause = explain(inside(HOST))
    assert not cause.sure and "routes, devices and firewall do not show why" in cause.words and cause.at == "node"
    assert "iptables-legacy" in explain(inside(changed(legacy=True))).words


def test_a_certain_cause_comes_before_a_likely_cause() -> None:
    likely = changed(ruleset=(DROPPING, UNKNOWN))
    assert explain(inside(likely)).words.startswith("the firewall of node may drop it")
    certain = replace(likely, neighbour="FAILED")
    cause = explain(inside(certain))
    assert cause.sure and "192.0.2.2 does not answer node on eth0 (neighbour FAILED)" in cause.words
    assert cause.command == (*HOST.prefix, *["ip", "neighbour", "show", "to", "192.0.2.2", "dev", "eth0"])


def test_a_route_that_rejects_packets_is_reported() -> None:
    assert "a route of type blackhole to 10.2.0.5" in explain(inside(changed(route=Route(kind="blackhole")))).words


def test_out_of_the_cluster_without_masquerade() -> None:
    drop = DropPoint("between", "node", "net", "request", "eth0", Packet(POD, FAR, 1, type=8))
    cause = explain(PacketLoss(PROBE, drop, HOST, not_masqueraded_by=HOST))
    assert cause.at == "node" and "not masqueraded" in cause.words


def test_a_loss_after_the_last_watched_endpoint_has_only_a_likely_cause() -> None:
    cause = explain(
        PacketLoss(PROBE, DropPoint("between", "node", "net", "request", "eth0", PACKET), HOST, icmp_errors=("r: no",))
    )
    assert not cause.sure and "does not arrive at net (r: no)" in cause.words and "tcpdump" in cause.command


def test_a_neighbour_entry_with_a_mac_that_the_next_node_does_not_have() -> None:
    after = changed(endpoint="peer", addresses=("192.0.2.2",))
    before = changed(neighbour="PERMANENT", neighbour_mac="0a:00:00:00:00:99")
    drop = DropPoint("between", "node", "peer", "request", "eth0", PACKET)
    assert "sends 192.0.2.2 to MAC 0a:00:00:00:00:99" in explain(PacketLoss(PROBE, drop, before, after=after)).words


def test_hops_as_text() -> None:
    assert hop_text(DropPoint("between", "a", "b")) == "between a and b"
    assert hop_text(DropPoint("inside", "a", direction="reply")) == "on the way back, in a"
    assert hop_text(DropPoint("unanswered", "a", direction="reply")) == "in a"


def test_the_host_that_rewrote_a_source_address_is_found() -> None:
    source = Endpoint("pod", "pod", "node", (POD,))
    masquerade = {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 9, "expr": [{"masquerade": None}]}}
    seen = Outcome(PROBE, "source", seen=ip_address("192.0.2.1"))
    cause = explain_source(seen, source, changed(ruleset=(masquerade,)))
    assert cause.sure and cause.at == "node" and "rule 9 of chain inet t c: masquerade" in cause.words
    ours = {"rule": {**masquerade["rule"], "table": "podwire-net"}}
    assert "cluster_cidrs" in explain_source(seen, source, changed(ruleset=(ours,))).advice
    assert not explain_source(seen, source, changed()).sure and not explain_source(seen, source, None).sure
    bare = Outcome(PROBE, "source", seen=POD)
    assert "does not masquerade" in explain_source(bare, source, HOST).words


class FakePool:
    """Runs the jobs in order, in the calling thread."""

    def run_all(self, jobs: Iterable[tuple[str, Callable[[], Outcome]]]) -> list[Outcome]:
        return [job() for _, job in jobs]


def run_probes(monkeypatch: Any, probes: Sequence[Probe], status: Callable[[Probe, int], str]) -> list[Outcome]:
    """Run probes with made-up answers: `status` is that of a probe at its n-th run."""
    times: dict[Probe, int] = {}

    def answer(probe: Probe, *_: object) -> Outcome:
        times[probe] = times.get(probe, 0) + 1
        return Outcome(probe, status(probe, times[probe]))  # type: ignore[arg-type]

    monkeypatch.setattr(probe_methods, "ping", answer)
    monkeypatch.setattr(probe_methods, "mtu", answer)
    endpoints = {name: Endpoint(name, "pod", "n", (POD,), "/x") for name in ("pod", "far")}
    return probe_runner.ProbeRunner(cast(NamespaceThreadPool, FakePool()), endpoints, {}, 1.0).run_all(probes)


def pings(count: int) -> list[Probe]:
    return [Probe("pod", "far", ip_address(f"10.2.0.{number + 1}"), "ping") for number in range(count)]


def test_a_few_lost_probes_among_many_run_again(monkeypatch: Any) -> None:
    probes = pings(100)
    again = run_probes(monkeypatch, probes, lambda probe, n: "lost" if probe in probes[:3] and n < 2 else "ok")
    assert [outcome.ok for outcome in again] == [True] * 100
    lost = run_probes(monkeypatch, probes, lambda probe, n: "lost" if probe in probes[:3] else "ok")
    assert sum(outcome.failed for outcome in lost) == 3
    many = run_probes(monkeypatch, probes, lambda probe, n: "lost" if probe in probes[:50] and n < 2 else "ok")
    assert sum(outcome.failed for outcome in many) == 50


def test_full_size_packets_are_not_sent_where_small_packets_are_lost(monkeypatch: Any) -> None:
    mtu = Probe("pod", "far", pings(1)[0].address, "mtu")
    outcomes = run_probes(monkeypatch, [*pings(1), mtu], lambda probe, n: "lost")
    assert [outcome.status for outcome in outcomes] == ["lost", "skipped"]


THROWAWAY_CAUSE = """
from podwire.diagnose.packet_loss import Cause


def full_moon(loss):
    yield Cause(loss.state.endpoint, "the moon is full", ("date",), "wait")
"""
EXPLAIN = """
from ipaddress import ip_address
from podwire.diagnose.causes import explain
from podwire.diagnose.drop_point import DropPoint
from podwire.diagnose.network_state import NetworkState
from podwire.diagnose.packet_loss import PacketLoss
from podwire.diagnose.plan import Probe

probe = Probe("pod", "far", ip_address("10.2.0.5"), "ping")
for kind in ("inside", "between"):
    print(explain(PacketLoss(probe, DropPoint(kind, "node"), NetworkState("node", 4))).words)
"""


def test_a_new_cause_is_one_file_and_one_list_entry(tmp_path: Path) -> None:
    copy = shutil.copytree(Path(podwire.__file__).parent, tmp_path / "podwire", ignore=shutil.ignore_patterns("native"))
    (copy / "diagnose" / "causes_moon.py").write_text(THROWAWAY_CAUSE)
    causes = copy / "diagnose" / "causes.py"
    text = causes.read_text()
    entry = '__import__("podwire.diagnose.causes_moon", fromlist=["*"]).full_moon'
    beginning = "FINDERS: list[Finder] = [\n"
    assert text.count(beginning) == 1
    causes.write_text(text.replace(beginning, f'{beginning}    Finder({entry}, ("inside",)),\n'))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", EXPLAIN], env=environment, capture_output=True, text=True, check=True)
    inside, between = run.stdout.splitlines()
    assert inside == "the moon is full"
    assert "do not show why" in between, "the cause is not asked for another kind of drop"
