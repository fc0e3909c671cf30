# SPDX-License-Identifier: Apache-2.0
"""Finds the hop where a probe's packet was dropped, from the packets that were captured on its path. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from podwire.diagnose.packets import ECHO_REPLY, TCP, UDP, Packet, icmp_text
from podwire.diagnose.plan import Probe
from podwire.record import Record

Direction = Literal["request", "reply", "error"]
DropKind = Literal[
    "not sent", "unanswered", "inside", "between", "not decapsulated", "not encapsulated", "not received"
]


class CapturedPacket(Record):
    """A packet captured at a device in an endpoint's namespace. `other_mac`: the frame was for another MAC address."""

    endpoint: str
    device: str
    outgoing: bool
    packet: Packet
    other_mac: bool = False

    def __str__(self) -> str:
        """As a line: `node-1 eth0 out 10.244.0.5 > 10.244.1.5 in VXLAN to 192.168.30.11`."""
        packet = self.packet
        way = "out" if self.outgoing else "in"
        words = f"{self.endpoint} {self.device} {way} {packet.source} > {packet.destination}"
        if packet.tunnel_to is not None:
            words += f" in VXLAN to {packet.tunnel_to}"
        if packet.quoted is not None:
            words += f" ({icmp_text(packet.source.version, packet.type, packet.code)})"
        return words + (f" (for MAC {packet.to_mac}, which is not this device's)" if self.other_mac else "")


class Trace(Record):
    """A probe that runs a second time while packets are captured: its token or its server's port, and its path.

    `path` has every endpoint from the source to the target; `watched` has the endpoints where a capture runs.
    """

    probe: Probe
    token: bytes
    port: int
    path: tuple[str, ...]
    watched: frozenset[str]
    packet_bytes: int = 0


class DropPoint(Record):
    """Where a packet was dropped: `at` is the last endpoint that had it, `next` the endpoint that did not receive it.

    `device` is the device where it was captured last and `packet` that packet (for "unanswered" the request).
    `direction` is "reply" if the reply was dropped.
    """

    kind: DropKind
    at: str
    next: str = ""
    direction: Direction = "request"
    device: str = ""
    packet: Packet | None = None
    other_mac: bool = False


def direction_of(trace: Trace, packet: Packet) -> Direction | None:
    """Whether a packet is a trace's request, its reply or an ICMP error about the request; None: another packet."""
    if packet.quoted is not None:
        return "error" if direction_of(trace, packet.quoted) == "request" else None
    if packet.protocol == TCP:
        to, sender = (packet.destination, packet.destination_port), (packet.source, packet.source_port)
        server = (trace.probe.address, trace.port) if trace.probe.method == "tcp" else None
        return "request" if to == server else ("reply" if sender == server else None)
    if packet.token != trace.token:
        return None
    if packet.protocol == UDP:
        return "reply" if packet.source_port == trace.port else "request"
    return "reply" if packet.type == ECHO_REPLY[packet.source.version] else "request"


def find_drop_point(
    trace: Trace, captured: Sequence[CapturedPacket], tunnels: Mapping[str, Collection[str]]
) -> DropPoint:
    """Where the request or its reply was dropped. `tunnels` are the names of VXLAN devices by endpoint.

    The kind is "not received" if the reply was captured all the way to the source.
    """
    seen: dict[str, dict[str, list[CapturedPacket]]] = {"request": {}, "reply": {}}
    for packet in captured:
        direction = direction_of(trace, packet.packet) if packet.endpoint in trace.watched else None
        if direction in seen:
            seen[direction].setdefault(packet.endpoint, []).append(packet)
    request_drop = _follow(trace.path, trace.watched, seen["request"], tunnels, "request")
    if request_drop is not None:
        return request_drop
    reply_drop = _follow(trace.path[::-1], trace.watched, seen["reply"], tunnels, "reply")
    if reply_drop is not None and reply_drop.kind != "unanswered":
        return reply_drop
    kind: DropKind = "unanswered" if reply_drop else "not received"
    at, direction = (reply_drop.at, "request") if reply_drop else (trace.path[0], "reply")
    received = [packet for packet in seen[direction].get(at, ()) if not packet.outgoing]
    return _drop_point(kind, at, received[-1] if received else None, "reply")


def _follow(
    path: Sequence[str],
    watched: Collection[str],
    seen: Mapping[str, Sequence[CapturedPacket]],
    tunnels: Mapping[str, Collection[str]],
    direction: Direction,
) -> DropPoint | None:
    """Where the packets of one direction end; None if they reach the end of the path."""
    last: CapturedPacket | None = None
    for number, endpoint in enumerate(path):
        if endpoint not in watched:
            continue
        received = [packet for packet in seen.get(endpoint, ()) if not packet.outgoing]
        sent = [packet for packet in seen.get(endpoint, ()) if packet.outgoing]
        if number > 0:
            if not received:
                return _drop_point("between", path[number - 1], last, direction, endpoint)
            plain = [packet for packet in received if packet.packet.tunnel_to is None]
            if not plain:
                return _drop_point("not decapsulated", endpoint, received[-1], direction)
            last = plain[-1]
        if number == len(path) - 1:
            return None
        if not sent:
            kind: DropKind = "inside" if number else ("not sent" if direction == "request" else "unanswered")
            return _drop_point(kind, endpoint, last, direction)
        encapsulated = [packet for packet in sent if packet.packet.tunnel_to is not None]
        into_tunnel = [packet for packet in sent if packet.device in tunnels.get(endpoint, ())]
        if into_tunnel and not encapsulated:
            return _drop_point("not encapsulated", endpoint, into_tunnel[-1], direction)
        last = (encapsulated or sent)[-1]
    return None


def _drop_point(
    kind: DropKind, at: str, last: CapturedPacket | None, direction: Direction, following: str = ""
) -> DropPoint:
    known = (last.device, last.packet, last.other_mac) if last else ()
    return DropPoint(kind, at, following, direction, *known)


def icmp_errors(trace: Trace, captured: Sequence[CapturedPacket]) -> list[str]:
    """The ICMP errors about the request, each once: `192.168.30.1: network unreachable`."""
    errors = [packet.packet for packet in captured if direction_of(trace, packet.packet) == "error"]
    lines = (f"{error.source}: {icmp_text(error.source.version, error.type, error.code)}" for error in errors)
    return list(dict.fromkeys(lines))


def describe_captured(trace: Trace, captured: Sequence[CapturedPacket]) -> list[str]:
    """The captured packets of a trace as lines, each once: requests, ICMP errors, replies, in the order of the path."""
    found = []
    for number, packet in enumerate(captured):
        direction = direction_of(trace, packet.packet)
        if direction is not None and packet.endpoint in trace.watched:
            position = trace.path.index(packet.endpoint)
            rank = ("request", "error", "reply").index(direction)
            found.append((rank, -position if direction == "reply" else position, number, str(packet)))
    return list(dict.fromkeys(line for _, _, _, line in sorted(found)))


def last_seen(drop: DropPoint) -> str:
    """The last captured packet before the drop, as a line; empty if none was captured."""
    if drop.packet is None:
        return ""
    outgoing = drop.kind in ("between", "not encapsulated")
    return str(CapturedPacket(drop.at, drop.device, outgoing, drop.packet, drop.other_mac))
