"""What a check asks: from the endpoints to a list of probes with their expectations, and the verdict of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from podwire.diagnose.endpoints import Endpoint, host_of
from podwire.ip import Address

Method = Literal["ping", "tcp", "udp", "mtu"]
METHODS: tuple[Method, ...] = ("ping", "tcp", "udp", "mtu")
Status = Literal["ok", "lost", "refused", "source", "black hole", "skipped"]

OWN, NODE, EITHER = "the pod's own address", "its node's address", "the pod's or its node's address"


class Probe(Struct, frozen=True, cache_hash=True):
    """One question: does `method` work from a pod to an address, and with which source is it seen there?

    `sources` are the addresses that may be seen; empty where it does not matter or cannot be known.
    """

    source: str
    target: str
    address: Address
    method: Method
    sources: frozenset[Address] = frozenset()
    expected: str = ""

    @property
    def family(self) -> int:
        return self.address.version

    @property
    def pair(self) -> tuple[str, str, Address]:
        """What all methods between two endpoints and one address have in common."""
        return self.source, self.target, self.address


class Outcome(Struct, frozen=True):
    """What came of a probe.

    `rtt_seconds` to the answer; `seen` is the source that the other side saw; `mtu` the largest packet that passed,
    in bytes, `lost_bytes` that of those that vanished; `words` say what went wrong, or nothing.
    """

    probe: Probe
    status: Status
    rtt_seconds: float = 0.0
    seen: Address | None = None
    mtu: int = 0
    lost_bytes: int = 0
    words: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def failed(self) -> bool:
        return self.status not in ("ok", "skipped")


def plan(endpoints: Sequence[Endpoint], families: Sequence[int] = (4, 6), most_pods: int = 0) -> list[Probe]:
    """All probes: from every pod with a namespace to everybody else, in every family that both have.

    With `most_pods` every pod calls at most that many other pods, spread over all of them, each pod different ones.
    """
    probes = []
    others = [one for one in endpoints if one.kind != "pod"]
    pods = [one for one in endpoints if one.kind == "pod"]
    for place, source in enumerate(pods):
        if not source.netns:
            continue
        host = host_of(endpoints, source.node)
        for target in [*others, *spread(pods[place + 1 :] + pods[:place], most_pods)]:
            for family in families:
                if source.of_family(family):
                    probes += _between(source, host, target, family)
    return probes


def spread(those: Sequence[Any], most: int) -> Sequence[Any]:
    """At most so many of them, evenly spread; 0: all."""
    if not most or len(those) <= most:
        return those
    return [those[number * len(those) // most] for number in range(most)]


def _between(source: Endpoint, host: Endpoint | None, target: Endpoint, family: int) -> list[Probe]:
    own_host = target.kind == "host" and target.node == source.node
    called = target.of_family(family) if own_host else target.of_family(family)[:1]
    allowed, words = _sources(source, host, target, family)
    probes = []
    for address in called:
        for method in METHODS:
            served = target.netns or (method == "tcp" and target.tcp_port)
            if method in ("tcp", "udp") and not served:
                continue
            seen = method in ("tcp", "udp") and bool(target.netns)
            probes.append(
                Probe(
                    source.name,
                    target.name,
                    address,
                    method,
                    allowed if seen else frozenset(),
                    words if seen and allowed else "",
                )
            )
    return probes


def _sources(source: Endpoint, host: Endpoint | None, target: Endpoint, family: int) -> tuple[frozenset[Address], str]:
    """Which source addresses the target may see. Inside the cluster a pod's own; outside of it its node's.

    Another node's own address lies outside of the pods' ranges: masquerade is right there, its absence as well.
    """
    own = frozenset(one for one in source.sends_from if one.version == family)
    if target.kind == "pod" or (target.kind == "host" and target.node == source.node):
        return own, OWN
    nodes = frozenset(one for one in (host.sends_from if host else ()) if one.version == family)
    if not nodes:
        return frozenset(), ""
    return (nodes, NODE) if target.kind == "outside" else (nodes | own, EITHER)


def verdict(probe: Probe, rtt_seconds: float, seen: Address | None) -> Outcome:
    """The outcome of a probe that was answered: is the source that the other side saw the right one?"""
    if seen is None or not probe.sources or seen in probe.sources:
        return Outcome(probe, "ok", rtt_seconds, seen)
    return Outcome(probe, "source", rtt_seconds, seen, words=f"seen as {seen} instead of {probe.expected}")
