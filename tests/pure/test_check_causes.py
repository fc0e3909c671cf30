"""From a gap and the facts of a place to a cause; and who is asked a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, cast

import msgspec

from podwire.diagnose import probe as prober
from podwire.diagnose import probe_runner as asking
from podwire.diagnose.captured import Gap
from podwire.diagnose.case import Case, hop_words
from podwire.diagnose.causes import explain
from podwire.diagnose.causes_source import explain_source
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.facts import Device, Facts, Way
from podwire.diagnose.namespaces import Crew
from podwire.diagnose.packets import Packet
from podwire.diagnose.plan import Outcome, Probe

POD, FAR = ip_address("10.1.0.5"), ip_address("10.2.0.5")
PROBE = Probe("pod", "far", FAR, "ping")
PACKET = Packet(POD, FAR, 1, type=8)
ETH0 = Device("eth0", True, True, 1500, "0a:00:00:00:00:01")
VETH = Device("pw1", True, True, 1500, "0a:00:00:00:00:02")
HOST = Facts(
    "node",
    4,
    "host",
    ("nsenter", "--net=/n"),
    Way("eth0", "192.0.2.2", "unicast"),
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


def inside(facts: Facts, **more: Any) -> Case:
    return Case(PROBE, Gap("inside", "node", "", "there", "pw1", PACKET), facts, to_pod=True, **more)


def changed(**changes: Any) -> Facts:
    return msgspec.structs.replace(HOST, **changes)


def test_what_nobody_can_explain_is_said_to_be_unexplained() -> None:
    cause = explain(inside(HOST))
    assert not cause.sure and "nothing that was looked at says why" in cause.words and cause.at == "node"
    assert "iptables-legacy" in explain(inside(changed(legacy=True))).words


def test_a_certain_cause_goes_before_a_likely_one() -> None:
    likely = changed(ruleset=(DROPPING, UNKNOWN))
    assert explain(inside(likely)).words.startswith("the firewall of node may drop it")
    certain = msgspec.structs.replace(likely, neighbour="FAILED")
    cause = explain(inside(certain))
    assert cause.sure and "192.0.2.2 does not answer node on eth0 (neighbour FAILED)" in cause.words
    assert cause.command == (*HOST.prefix, *["ip", "neighbour", "show", "to", "192.0.2.2", "dev", "eth0"])


def test_a_route_that_refuses_is_told() -> None:
    assert "a route of type blackhole to 10.2.0.5" in explain(inside(changed(way=Way(kind="blackhole")))).words


def test_out_of_the_cluster_without_masquerade() -> None:
    gap = Gap("between", "node", "net", "there", "eth0", Packet(POD, FAR, 1, type=8))
    cause = explain(Case(PROBE, gap, HOST, bare_at=HOST))
    assert cause.at == "node" and "not masqueraded" in cause.words


def test_a_way_that_ends_beyond_what_can_be_seen_is_only_likely() -> None:
    cause = explain(Case(PROBE, Gap("between", "node", "net", "there", "eth0", PACKET), HOST, complaints=("r: no",)))
    assert not cause.sure and "does not arrive at net (r: no)" in cause.words and "tcpdump" in cause.command


def test_a_neighbour_entry_with_a_mac_that_the_next_node_has_not() -> None:
    after = changed(place="peer", addresses=("192.0.2.2",))
    before = changed(neighbour="PERMANENT", neighbour_mac="0a:00:00:00:00:99")
    gap = Gap("between", "node", "peer", "there", "eth0", PACKET)
    assert "sends 192.0.2.2 to MAC 0a:00:00:00:00:99" in explain(Case(PROBE, gap, before, after=after)).words


def test_hops_are_words() -> None:
    assert hop_words(Gap("between", "a", "b")) == "between a and b"
    assert hop_words(Gap("inside", "a", way="back")) == "on the way back, in a"
    assert hop_words(Gap("unanswered", "a", way="back")) == "in a"


def test_who_rewrote_a_source() -> None:
    source = Endpoint("pod", "pod", "node", (POD,))
    masquerade = {"rule": {"family": "inet", "table": "t", "chain": "c", "handle": 9, "expr": [{"masquerade": None}]}}
    seen = Outcome(PROBE, "source", seen=ip_address("192.0.2.1"))
    cause = explain_source(seen, source, changed(ruleset=(masquerade,)))
    assert cause.sure and cause.at == "node" and "rule 9 of chain inet t c: masquerade" in cause.words
    ours = {"rule": {**masquerade["rule"], "table": "podwire-net"}}
    assert "cluster_ranges" in explain_source(seen, source, changed(ruleset=(ours,))).advice
    assert not explain_source(seen, source, changed()).sure and not explain_source(seen, source, None).sure
    bare = Outcome(PROBE, "source", seen=POD)
    assert "does not masquerade" in explain_source(bare, source, HOST).words


class FakeCrew:
    """Does the jobs one after the other, here."""

    def all(self, jobs: Iterable[tuple[str, Callable[[], Outcome]]]) -> list[Outcome]:
        return [job() for _, job in jobs]


def ask(monkeypatch: Any, probes: Sequence[Probe], status: Callable[[Probe, int], str]) -> list[Outcome]:
    """Ask with answers that are made up: `status` of a probe at its n-th time."""
    times: dict[Probe, int] = {}

    def answer(one: Probe, *_: object) -> Outcome:
        times[one] = times.get(one, 0) + 1
        return Outcome(one, status(one, times[one]))  # type: ignore[arg-type]

    monkeypatch.setattr(prober, "ping", answer)
    monkeypatch.setattr(prober, "mtu", answer)
    endpoints = {name: Endpoint(name, "pod", "n", (POD,), "/x") for name in ("pod", "far")}
    return asking.Asking(cast(Crew, FakeCrew()), endpoints, {}, 1.0).ask_all(probes)


def pings(count: int) -> list[Probe]:
    return [Probe("pod", "far", ip_address(f"10.2.0.{number + 1}"), "ping") for number in range(count)]


def test_few_losses_among_many_are_asked_again(monkeypatch: Any) -> None:
    probes = pings(100)
    again = ask(monkeypatch, probes, lambda one, n: "lost" if one in probes[:3] and n < 2 else "ok")
    assert [one.ok for one in again] == [True] * 100
    lost = ask(monkeypatch, probes, lambda one, n: "lost" if one in probes[:3] else "ok")
    assert sum(one.failed for one in lost) == 3
    many = ask(monkeypatch, probes, lambda one, n: "lost" if one in probes[:50] and n < 2 else "ok")
    assert sum(one.failed for one in many) == 50


def test_full_size_packets_are_not_sent_where_small_ones_are_lost(monkeypatch: Any) -> None:
    mtu = Probe("pod", "far", pings(1)[0].address, "mtu")
    outcomes = ask(monkeypatch, [*pings(1), mtu], lambda one, n: "lost")
    assert [one.status for one in outcomes] == ["lost", "skipped"]
