"""Finds the hop: failed probes are run again while every place on their way is listened in on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial

from podwire.diagnose import probe as prober
from podwire.diagnose.capture import Capture
from podwire.diagnose.captured import Gap, Sighting, Trace, complaints, evidence, find_gap, sighted, way_of
from podwire.diagnose.case import Case, Cause, hop_words
from podwire.diagnose.causes import explain
from podwire.diagnose.causes_source import explain_source
from podwire.diagnose.endpoints import Endpoint, host_of
from podwire.diagnose.facts import Ask, Facts, read_facts
from podwire.diagnose.namespaces import Crew, Places
from podwire.diagnose.packets import token
from podwire.diagnose.plan import Outcome, spread
from podwire.diagnose.report import Failure, group
from podwire.diagnose.servers import Servers
from podwire.ip import Address
from podwire.netlink import read
from podwire.netlink.socket import Netlink

MOST_TRACED = 32
"""Failures that are traced; a broken node makes hundreds, and they have one cause."""

TRACE_SECONDS = 1.0
NOT_TRACED = f"{MOST_TRACED} others are traced: mend those and run the check again"


class Tracer:
    """One check's failures, their traces, and the facts that were read for them (each once)."""

    def __init__(self, places: Places, crew: Crew, endpoints: Sequence[Endpoint]) -> None:
        self._places = places
        self._crew = crew
        self._endpoints = {one.name: one for one in endpoints}
        self._pods = frozenset(address for one in endpoints if one.kind == "pod" for address in one.sends_from)
        self._facts: dict[Ask, Facts] = {}

    def diagnose(self, failed: Sequence[Outcome], timeout_seconds: float) -> list[Failure]:
        """A failure for every pair of endpoints and kind of loss, each with the hop and the cause."""
        groups = group(failed)
        lost = [one for one in groups if one[0].status != "source"]
        chosen = spread(lost, MOST_TRACED)
        traced = dict(zip(map(id, chosen), self._trace(chosen, timeout_seconds), strict=True))
        found = []
        for outcomes in groups:
            if outcomes[0].status == "source":
                found.append(self._rewritten(outcomes))
            else:
                found.append(traced.get(id(outcomes)) or Failure.of(outcomes, "", Cause("", NOT_TRACED), ()))
        return found

    def _rewritten(self, outcomes: Sequence[Outcome]) -> Failure:
        """The packet came, with another source than it should have: which host wrote it?"""
        seen, probe = outcomes[0].seen, outcomes[0].probe
        assert seen is not None
        source = self._endpoints[probe.source]
        hosts = [one for one in self._endpoints.values() if one.kind == "host" and seen in one.sends_from]
        host = hosts[0] if hosts else host_of(self._endpoints.values(), source.node)
        facts = self._read(Ask(host.name, probe.address)) if host is not None and host.name in self._places else None
        cause = explain_source(outcomes[0], source, facts)
        return Failure.of(outcomes, f"in {cause.at}", cause, ())

    def _trace(self, groups: Sequence[Sequence[Outcome]], timeout_seconds: float) -> list[Failure]:
        if not groups:
            return []
        chosen = [outcomes[0] for outcomes in groups]
        wanted = [(self._endpoints[one.probe.target], one.probe.address) for one in chosen]
        # A server for each trace: their ports tell TCP packets apart, whatever is done to the addresses on the way.
        servers = [Servers(self._places, self._crew, [one]) for one in wanted]
        try:
            traces = [self._prepare(one, server) for one, server in zip(chosen, servers, strict=True)]
            watched = frozenset(name for one in traces for name in one.watched)
            ports = {one.port for one in traces if one.probe.method == "tcp"}
            with Capture(self._places, self._crew, watched, ports) as capture:
                seconds = min(timeout_seconds, TRACE_SECONDS)
                self._crew.all([(one.probe.source, partial(_again, one, seconds)) for one in traces])
        finally:
            for server in servers:
                server.close()
        tunnels = {name: self._places.run(name, _tunnels) for name in watched}
        pairs = zip(groups, traces, strict=True)
        return [self._failure(outcomes, one, capture.sightings, tunnels) for outcomes, one in pairs]

    def _prepare(self, outcome: Outcome, server: Servers) -> Trace:
        probe = outcome.probe
        source, target = self._endpoints[probe.source], self._endpoints[probe.target]
        hosts = [host_of(self._endpoints.values(), one.node) if one.node else None for one in (source, target)]
        names = [source.name, *(one.name for one in hosts if one is not None), target.name]
        ports = server.ports.get((probe.target, probe.address))
        port = target.tcp_port if ports is None else ports[1 if probe.method == "udp" else 0]
        return Trace(
            probe,
            token(os.urandom(8)),
            port,
            tuple(dict.fromkeys(names)),
            frozenset(name for name in names if name in self._places),
            outcome.lost_bytes,
        )

    def _failure(
        self,
        outcomes: Sequence[Outcome],
        trace: Trace,
        sightings: Sequence[Sighting],
        tunnels: Mapping[str, frozenset[str]],
    ) -> Failure:
        own = [one for one in sightings if way_of(trace, one.packet)]
        gap = find_gap(trace, own, tunnels)
        facts = self._facts_of(gap.at, trace, gap)
        if facts is None:
            cause = Cause(gap.at, f"{gap.at} cannot be looked into: its namespace is not known", sure=False)
            return Failure.of(outcomes, hop_words(gap), cause, evidence(trace, own))
        path = trace.path if gap.way == "there" else trace.path[::-1]
        place = path.index(gap.at)
        packet = gap.packet
        destination = packet.destination if packet is not None else trace.probe.address
        case = Case(
            trace.probe,
            gap,
            facts,
            before=self._facts_of(path[place - 1], trace, gap) if place else self._asker(trace, gap),
            after=self._facts_of(path[place + 1], trace, gap) if gap.next else None,
            to_pod=destination in self._pods,
            too_large=trace.packet_bytes,
            bare_at=self._bare(trace, own),
            complaints=complaints(trace, own),
        )
        return Failure.of(outcomes, hop_words(gap), explain(case), evidence(trace, own), sighted(gap))

    def _asker(self, trace: Trace, gap: Gap) -> Facts | None:
        """Where nothing was answered: the place that brought the question."""
        if gap.where != "unanswered" or len(trace.path) < 2:
            return None
        return self._facts_of(trace.path[-2], trace, gap)

    def _bare(self, trace: Trace, sightings: Sequence[Sighting]) -> Facts | None:
        """The host that let a packet out of the cluster with the pod's own address."""
        source, target = self._endpoints[trace.probe.source], self._endpoints[trace.probe.target]
        host = host_of(self._endpoints.values(), source.node)
        if target.kind != "outside" or host is None or not host.netns:
            return None
        went = [one for one in sightings if one.place == host.name and one.outgoing]
        there = [one for one in went if way_of(trace, one.packet) == "there"]
        if there and there[-1].packet.source in source.sends_from:
            return self._read(Ask(host.name, trace.probe.address))
        return None

    def _facts_of(self, name: str, trace: Trace, gap: Gap) -> Facts | None:
        if name not in self._places:
            return None
        packet = gap.packet
        if packet is None or name != gap.at:
            to = packet.destination if packet is not None else trace.probe.address
            return self._read(Ask(name, to))
        to = packet.source if gap.where == "unanswered" else packet.destination
        tunneled = packet.tunnel_to is not None
        came: tuple[Address, Address] | None = (packet.destination, packet.source)
        if gap.where not in ("inside", "unanswered") or tunneled:
            came = None
        return self._read(Ask(name, to, came, gap.device if came else ""))

    def _read(self, ask: Ask) -> Facts:
        if ask not in self._facts:
            self._facts[ask] = read_facts(self._places, ask)
        return self._facts[ask]


def _again(trace: Trace, timeout_seconds: float) -> None:
    """Run a probe once more; that it fails is known, and if it does not, the sightings say so."""
    if trace.probe.method == "tcp":
        prober.tcp(trace.probe, trace.port, timeout_seconds)
    elif trace.probe.method == "udp":
        prober.udp(trace.probe, trace.port, timeout_seconds, trace.token)
    else:
        prober.ping(trace.probe, timeout_seconds, trace.token, trace.packet_bytes)


def _tunnels() -> frozenset[str]:
    """The VXLAN devices of the namespace that we are in."""
    with Netlink() as socket:
        return frozenset(one.name for one in read.links(socket) if one.kind == "vxlan")
