# SPDX-License-Identifier: Apache-2.0
"""Plans a check: computes the probes between endpoints and the source address that each target must see. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from podwire.diagnose.endpoints import Endpoint, host_of
from podwire.ip import Address
from podwire.record import Record

Method = Literal["ping", "tcp", "udp", "mtu"]
METHODS: tuple[Method, ...] = ("ping", "tcp", "udp", "mtu")
Status = Literal["ok", "lost", "refused", "source", "black hole", "skipped"]

OWN, NODE, EITHER = "the pod's own address", "its node's address", "the pod's or its node's address"


class Probe(Record):
    """A probe: call an address from a pod by `method`; the target reports the source address that it sees.

    `sources` are the source addresses that are right; empty if they do not matter or are unknown.
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
        return self.source, self.target, self.address


class Outcome(Record):
    """The outcome of a probe.

    `rtt_seconds` is the time to the answer; `seen` the source address that the target saw; `mtu` the largest packet
    that passed and `lost_bytes` the packet that was lost, in bytes; `words` describe the failure.
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
    """All probes: from each pod with a namespace to all other endpoints, in each family that both have.

    With `most_pods` each pod calls at most that many other pods. The called pods are spread over all pods.
    """
    probes = []
    others = [endpoint for endpoint in endpoints if endpoint.kind != "pod"]
    pods = [endpoint for endpoint in endpoints if endpoint.kind == "pod"]
    for number, source in enumerate(pods):
        if not source.netns:
            continue
        host = host_of(endpoints, source.node)
        for target in [*others, *spread(pods[number + 1 :] + pods[:number], most_pods)]:
            for family in families:
                if source.of_family(family):
                    probes += _between(source, host, target, family)
    return probes


def spread(values: Sequence[Any], most: int) -> Sequence[Any]:
    """At most `most` of the values, evenly spread; 0: all."""
    if not most or len(values) <= most:
        return values
    return [values[number * len(values) // most] for number in range(most)]


def _between(source: Endpoint, host: Endpoint | None, target: Endpoint, family: int) -> list[Probe]:
    own_host = target.kind == "host" and target.node == source.node
    called = target.of_family(family) if own_host else target.of_family(family)[:1]
    sources = _sources(source, host, target, family)
    probes = []
    for address in called:
        for method in METHODS:
            if method in ("ping", "mtu") or (method == "tcp" and target.tcp_port and not target.netns):
                probes.append(Probe(source.name, target.name, address, method))
            elif target.netns:
                probes.append(Probe(source.name, target.name, address, method, *sources))
    return probes


def _sources(source: Endpoint, host: Endpoint | None, target: Endpoint, family: int) -> tuple[frozenset[Address], str]:
    """Which source addresses the target may see: in the cluster the pod's own, outside of it the node's.

    Another node's address is not in the pod CIDRs: packets to it may be masqueraded or not.
    """
    own = frozenset(address for address in source.sends_from if address.version == family)
    if target.kind == "pod" or (target.kind == "host" and target.node == source.node):
        return own, OWN if own else ""
    nodes = frozenset(address for address in (host.sends_from if host else ()) if address.version == family)
    if not nodes:
        return frozenset(), ""
    return (nodes, NODE) if target.kind == "outside" else (nodes | own, EITHER)


def verdict(probe: Probe, rtt_seconds: float, seen: Address | None) -> Outcome:
    """The outcome of a probe that was answered: whether the target saw the right source address."""
    if seen is None or not probe.sources or seen in probe.sources:
        return Outcome(probe, "ok", rtt_seconds, seen)
    return Outcome(probe, "source", rtt_seconds, seen, words=f"seen as {seen} instead of {probe.expected}")
