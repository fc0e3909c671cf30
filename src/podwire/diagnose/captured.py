"""Where a probe's packets were seen on their way, and so between which two places they were lost. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from podwire.diagnose.packets import ECHO_REPLY, TCP, UDP, Packet, icmp_words
from podwire.diagnose.plan import Probe

Way = Literal["there", "back", "error"]
Where = Literal["not sent", "unanswered", "inside", "between", "not unwrapped", "not wrapped", "not taken"]


class Sighting(Struct, frozen=True):
    """A packet seen at a device of a place. `other_mac`: it came in, but for another MAC than the device's."""

    place: str
    device: str
    outgoing: bool
    packet: Packet
    other_mac: bool = False

    def __str__(self) -> str:
        """For people: `node-1 eth0 out 10.244.0.5 > 10.244.1.5 in VXLAN to 192.168.30.11`."""
        packet = self.packet
        words = f"{self.place} {self.device} {'out' if self.outgoing else 'in'} {packet.source} > {packet.destination}"
        if packet.tunnel_to is not None:
            words += f" in VXLAN to {packet.tunnel_to}"
        if packet.about is not None:
            words += f" ({icmp_words(packet.source.version, packet.type, packet.code)})"
        return words + (f" (for MAC {packet.to_mac}, which is not this device's)" if self.other_mac else "")


class Trace(Struct, frozen=True):
    """A probe that is run a second time, watched: its mark or its server's port, and the places on its way.

    `path` has every place from the source to the target; `watched` those where a capture runs.
    """

    probe: Probe
    token: bytes
    port: int
    path: tuple[str, ...]
    watched: frozenset[str]
    packet_bytes: int = 0


class Gap(Struct, frozen=True):
    """Where a packet was lost: `at` the last place that had it, `next` the one that should have seen it then.

    `device` is where it was seen last; `packet` is that packet ("unanswered": the question). `way` says whether the
    answer was lost.
    """

    where: Where
    at: str
    next: str = ""
    way: Way = "there"
    device: str = ""
    packet: Packet | None = None
    other_mac: bool = False


def way_of(trace: Trace, packet: Packet) -> Way | None:
    """Is a packet part of a trace: on its way there, back, or an ICMP error about it?"""
    if packet.about is not None:
        return "error" if way_of(trace, packet.about) == "there" else None
    if packet.protocol == TCP:
        called, answers = (packet.destination, packet.destination_port), (packet.source, packet.source_port)
        server = (trace.probe.address, trace.port) if trace.probe.method == "tcp" else None
        return "there" if called == server else ("back" if answers == server else None)
    if packet.token != trace.token:
        return None
    answer = (
        packet.source_port == trace.port if packet.protocol == UDP else packet.type == ECHO_REPLY[packet.source.version]
    )
    return "back" if answer else "there"


def find_gap(trace: Trace, sightings: Sequence[Sighting], tunnels: Mapping[str, Collection[str]]) -> Gap:
    """Where the packet, or its answer, was lost. `tunnels` are the names of VXLAN devices by place.

    "not taken" is said where all was seen up to the source itself.
    """
    ways: dict[str, dict[str, list[Sighting]]] = {"there": {}, "back": {}}
    for one in sightings:
        way = way_of(trace, one.packet) if one.place in trace.watched else None
        if way in ways:
            ways[way].setdefault(one.place, []).append(one)
    there = _leg(trace.path, trace.watched, ways["there"], tunnels, "there")
    if there is not None:
        return there
    back = _leg(trace.path[::-1], trace.watched, ways["back"], tunnels, "back")
    if back is None:
        came = [one for one in ways["back"].get(trace.path[0], ()) if not one.outgoing]
        return _gap("not taken", trace.path[0], came[-1] if came else None, "back")
    if back.where == "unanswered":
        asked = [one for one in ways["there"].get(back.at, ()) if not one.outgoing]
        return _gap("unanswered", back.at, asked[-1] if asked else None, "back")
    return back


def _leg(
    path: Sequence[str],
    watched: Collection[str],
    seen: Mapping[str, Sequence[Sighting]],
    tunnels: Mapping[str, Collection[str]],
    way: Way,
) -> Gap | None:
    last: Sighting | None = None
    for number, place in enumerate(path):
        if place not in watched:
            continue
        came = [one for one in seen.get(place, ()) if not one.outgoing]
        went = [one for one in seen.get(place, ()) if one.outgoing]
        if number > 0:
            if not came:
                return _gap("between", path[number - 1], last, way, place)
            bare = [one for one in came if one.packet.tunnel_to is None]
            if not bare:
                return _gap("not unwrapped", place, came[-1], way)
            last = bare[-1]
        if number == len(path) - 1:
            return None
        if not went:
            lost: Where = "inside" if number else ("not sent" if way == "there" else "unanswered")
            return _gap(lost, place, last, way)
        wrapped = [one for one in went if one.packet.tunnel_to is not None]
        into = [one for one in went if one.device in tunnels.get(place, ())]
        if into and not wrapped:
            return _gap("not wrapped", place, into[-1], way)
        last = (wrapped or went)[-1]
    return None


def _gap(where: Where, at: str, last: Sighting | None, way: Way, following: str = "") -> Gap:
    if last is None:
        return Gap(where, at, following, way)
    return Gap(where, at, following, way, last.device, last.packet, last.other_mac)


def complaints(trace: Trace, sightings: Sequence[Sighting]) -> list[str]:
    """What others said about the packet by ICMP, once each: `192.168.30.1: network unreachable`."""
    found: dict[str, None] = {}
    for one in sightings:
        if way_of(trace, one.packet) == "error":
            packet = one.packet
            found[f"{packet.source}: {icmp_words(packet.source.version, packet.type, packet.code)}"] = None
    return list(found)


def evidence(trace: Trace, sightings: Sequence[Sighting]) -> list[str]:
    """The sightings of a trace in words, each once: on the way there, complaints, on the way back."""
    found = []
    for number, one in enumerate(sightings):
        way = way_of(trace, one.packet)
        if way is not None and one.place in trace.watched:
            place = trace.path.index(one.place)
            found.append((("there", "error", "back").index(way), -place if way == "back" else place, number, str(one)))
    return list(dict.fromkeys(words for _, _, _, words in sorted(found)))


def sighted(gap: Gap) -> str:
    """Where the lost packet was seen last, in words; empty if it was seen nowhere."""
    if gap.packet is None:
        return ""
    outgoing = gap.where in ("between", "not wrapped")
    return str(Sighting(gap.at, gap.device, outgoing, gap.packet, gap.other_mac))
