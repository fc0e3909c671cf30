# SPDX-License-Identifier: Apache-2.0
"""Traces lost packets: runs failed probes again while packets are captured on their path, and explains each loss."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, partial

from podwire.diagnose import drop_point, probe_methods
from podwire.diagnose.capture import Capture
from podwire.diagnose.causes import explain, explain_source
from podwire.diagnose.drop_point import CapturedPacket, DropPoint, Trace, describe_captured, direction_of
from podwire.diagnose.endpoints import Endpoint, host_of
from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool
from podwire.diagnose.network_state import NetworkState, StateQuery, read_network_state
from podwire.diagnose.packet_loss import Cause, PacketLoss, hop_text
from podwire.diagnose.packets import token
from podwire.diagnose.plan import Outcome, spread
from podwire.diagnose.report import Failure, group_outcomes
from podwire.diagnose.servers import Servers
from podwire.netlink import read
from podwire.netlink.socket import Netlink

MAX_TRACED = 32  # a broken node causes hundreds of failures with the same cause
TRACE_SECONDS = 1.0
NOT_TRACED = f"not traced: {MAX_TRACED} other failures are traced; repair them and run the check again"


class Tracer:
    """Traces the failures of a check. The state of a namespace is read once for each query."""

    def __init__(self, namespaces: Namespaces, pool: NamespaceThreadPool, endpoints: Sequence[Endpoint]) -> None:
        self._namespaces = namespaces
        self._pool = pool
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        pods = (endpoint for endpoint in endpoints if endpoint.kind == "pod")
        self._pod_addresses = frozenset(address for pod in pods for address in pod.sends_from)
        self._read = cache(partial(read_network_state, namespaces))

    def diagnose(self, failed: Sequence[Outcome], timeout_seconds: float) -> list[Failure]:
        """A failure for each pair of endpoints and kind of loss, with its hop and cause."""
        groups = group_outcomes(failed)
        lost = [outcomes for outcomes in groups if outcomes[0].status != "source"]
        chosen = spread(lost, MAX_TRACED)
        traced = dict(zip(map(id, chosen), self._trace(chosen, timeout_seconds), strict=True))
        return [
            self._wrong_source(outcomes)
            if outcomes[0].status == "source"
            else traced.get(id(outcomes)) or Failure.of(outcomes, "", Cause("", NOT_TRACED), ())
            for outcomes in groups
        ]

    def _wrong_source(self, outcomes: Sequence[Outcome]) -> Failure:
        """The failure of packets that arrive with a wrong source address."""
        seen, probe = outcomes[0].seen, outcomes[0].probe
        assert seen is not None
        source = self._endpoints[probe.source]
        hosts = (endpoint for endpoint in self._endpoints.values() if endpoint.kind == "host")
        own_host = host_of(self._endpoints.values(), source.node)
        host = next((host for host in hosts if seen in host.sends_from), own_host)
        state = None
        if host is not None and host.name in self._namespaces:
            state = self._read(StateQuery(host.name, probe.address))
        cause = explain_source(outcomes[0], source, state)
        return Failure.of(outcomes, f"in {cause.at}", cause, ())

    def _trace(self, groups: Sequence[Sequence[Outcome]], timeout_seconds: float) -> list[Failure]:
        if not groups:
            return []
        outcomes = [group[0] for group in groups]
        probes = [outcome.probe for outcome in outcomes]
        # Each trace has servers of its own: their ports identify its TCP packets even if NAT changes the addresses.
        servers = [Servers(self._namespaces, self._pool, [(probe.target, probe.address)]) for probe in probes]
        try:
            traces = [self._prepare(outcome, server) for outcome, server in zip(outcomes, servers, strict=True)]
            watched = frozenset(name for trace in traces for name in trace.watched)
            ports = {trace.port for trace in traces if trace.probe.method == "tcp"}
            with Capture(self._namespaces, self._pool, watched, ports) as capture:
                seconds = min(timeout_seconds, TRACE_SECONDS)
                self._pool.run_all([(trace.probe.source, partial(_run_again, trace, seconds)) for trace in traces])
        finally:
            for server in servers:
                server.close()
        tunnels = {name: self._namespaces.run(name, _tunnels) for name in watched}
        pairs = zip(groups, traces, strict=True)
        return [self._failure(group, trace, capture.packets, tunnels) for group, trace in pairs]

    def _prepare(self, outcome: Outcome, server: Servers) -> Trace:
        probe = outcome.probe
        source, target = self._endpoints[probe.source], self._endpoints[probe.target]
        hosts = [host_of(self._endpoints.values(), end.node) if end.node else None for end in (source, target)]
        names = [source.name, *(host.name for host in hosts if host is not None), target.name]
        ports = server.ports.get((probe.target, probe.address))
        port = target.tcp_port if ports is None else ports[1 if probe.method == "udp" else 0]
        watched = frozenset(name for name in names if name in self._namespaces)
        return Trace(probe, token(os.urandom(8)), port, tuple(dict.fromkeys(names)), watched, outcome.lost_bytes)

    def _failure(
        self,
        outcomes: Sequence[Outcome],
        trace: Trace,
        captured: Sequence[CapturedPacket],
        tunnels: Mapping[str, frozenset[str]],
    ) -> Failure:
        own = [packet for packet in captured if direction_of(trace, packet.packet)]
        drop = drop_point.find_drop_point(trace, own, tunnels)
        state = self._state_of(drop.at, trace, drop)
        if state is None:
            cause = Cause(drop.at, f"{drop.at} cannot be inspected: its namespace is not known", sure=False)
            return Failure.of(outcomes, hop_text(drop), cause, describe_captured(trace, own))
        path = trace.path if drop.direction == "request" else trace.path[::-1]
        position = path.index(drop.at)
        destination = drop.packet.destination if drop.packet is not None else trace.probe.address
        loss = PacketLoss(
            trace.probe,
            drop,
            state,
            before=self._state_of(path[position - 1], trace, drop) if position else self._sender_state(trace, drop),
            after=self._state_of(path[position + 1], trace, drop) if drop.next else None,
            to_pod=destination in self._pod_addresses,
            too_large=trace.packet_bytes,
            not_masqueraded_by=self._not_masqueraded_by(trace, own),
            icmp_errors=drop_point.icmp_errors(trace, own),
        )
        seen, last = describe_captured(trace, own), drop_point.last_seen(drop)
        return Failure.of(outcomes, hop_text(drop), explain(loss), seen, last)

    def _sender_state(self, trace: Trace, drop: DropPoint) -> NetworkState | None:
        """For a request without a reply: the state of the endpoint that sent the request to the target."""
        if drop.kind != "unanswered" or len(trace.path) < 2:
            return None
        return self._state_of(trace.path[-2], trace, drop)

    def _not_masqueraded_by(self, trace: Trace, captured: Sequence[CapturedPacket]) -> NetworkState | None:
        """The host that sent the request out of the cluster with the pod's own address."""
        source, target = self._endpoints[trace.probe.source], self._endpoints[trace.probe.target]
        host = host_of(self._endpoints.values(), source.node)
        if target.kind != "outside" or host is None or not host.netns:
            return None
        sent = [packet.packet for packet in captured if packet.endpoint == host.name and packet.outgoing]
        requests = [packet for packet in sent if direction_of(trace, packet) == "request"]
        if requests and requests[-1].source in source.sends_from:
            return self._read(StateQuery(host.name, trace.probe.address))
        return None

    def _state_of(self, name: str, trace: Trace, drop: DropPoint) -> NetworkState | None:
        if name not in self._namespaces:
            return None
        packet = drop.packet
        if packet is None:
            return self._read(StateQuery(name, trace.probe.address))
        destination = packet.source if drop.kind == "unanswered" and name == drop.at else packet.destination
        if name != drop.at or drop.kind not in ("inside", "unanswered") or packet.tunnel_to is not None:
            return self._read(StateQuery(name, destination))
        return self._read(StateQuery(name, destination, (packet.destination, packet.source), drop.device))


def _run_again(trace: Trace, timeout_seconds: float) -> None:
    """Run a probe once more. Its outcome is not needed: the captured packets show where it is lost."""
    if trace.probe.method == "tcp":
        probe_methods.tcp(trace.probe, trace.port, timeout_seconds)
    elif trace.probe.method == "udp":
        probe_methods.udp(trace.probe, trace.port, timeout_seconds, trace.token)
    else:
        probe_methods.ping(trace.probe, timeout_seconds, trace.token, trace.packet_bytes)


def _tunnels() -> frozenset[str]:
    """The VXLAN devices of the calling thread's namespace."""
    with Netlink() as socket:
        return frozenset(link.name for link in read.links(socket) if link.kind == "vxlan")
