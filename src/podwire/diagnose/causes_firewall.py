"""Causes in firewalls: a chain that drops the packet, or the ICMP message that it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from podwire.diagnose import nft_walk as firewall
from podwire.diagnose.case import Case, Cause, command_at
from podwire.diagnose.facts import Facts
from podwire.diagnose.nft_walk import Obstacle, Question
from podwire.diagnose.packets import ECHO_REQUEST, ICMP, ICMPV6, TCP, UDP, Packet

PROTOCOLS = {
    "ping": {4: ICMP, 6: ICMPV6},
    "mtu": {4: ICMP, 6: ICMPV6},
    "tcp": {4: TCP, 6: TCP},
    "udp": {4: UDP, 6: UDP},
}
TUNNEL_STATES = ("new", "established")
HOOKS = {
    "not sent": ("output", "postrouting"),
    "unanswered": ("ingress", "prerouting", "input"),
    "inside": ("ingress", "prerouting", "forward", "postrouting"),
    "not unwrapped": ("ingress", "prerouting", "input"),
    "not taken": ("ingress", "prerouting", "input"),
}


def dropped(case: Case) -> Iterator[Cause]:
    packet = case.packet or _never_seen(case)
    asked = _asked(case, packet)
    found = firewall.obstacles(case.facts.ruleset, HOOKS[case.gap.where], asked)
    if case.gap.where == "unanswered":
        answer = _answer_to(asked, case.facts.way.device)
        found += firewall.obstacles(case.facts.ruleset, ("output", "postrouting"), answer)
    yield from (_obstacle(case.facts, one) for one in sorted(found, key=lambda one: not one.certain)[:1])


def too_large(case: Case) -> Iterator[Cause]:
    """A host whose way on carries less has to say so; if the word does not come, something drops ICMP."""
    facts, packet = case.facts, case.packet
    way = facts.devices.get(facts.way.device)
    if not case.too_large or packet is None or way is None or way.mtu >= case.too_large:
        return
    kind = (3, ICMP) if facts.family == 4 else (2, ICMPV6)
    back = Question(
        source=packet.destination,
        destination=packet.source,
        protocol=kind[1],
        type=kind[0],
        goes_by=case.gap.device,
        states=("related",),
    )
    words = f"{facts.place} has to say that {way.name} carries {way.mtu} bytes, and its ICMP message gets lost"
    for one in firewall.obstacles(facts.ruleset, ("output", "postrouting"), back)[:1]:
        cause = _obstacle(facts, one)
        advice = "let ICMP 'fragmentation needed' and 'packet too big' pass"
        yield Cause(facts.place, f"{words}: {one.words}", cause.command, advice, one.certain)
        return
    advice = f"let ICMP pass, or set the pods' MTU to {way.mtu} (mtu in the settings)"
    yield Cause(facts.place, words, command_at(facts, "ip", "link", "show", way.name), advice)


def _asked(case: Case, packet: Packet) -> Question:
    """The lost packet as a firewall would see it: in a tunnel, the outer one."""
    facts, gap = case.facts, case.gap
    if gap.where == "not unwrapped" and packet.tunnel_from is not None and packet.tunnel_to is not None:
        port = next((one.port for one in facts.devices.values() if one.kind == "vxlan"), 0)
        return Question(packet.tunnel_from, packet.tunnel_to, UDP, port, came_by=gap.device, states=TUNNEL_STATES)
    outward = gap.where in ("inside", "not sent", "not wrapped")
    return Question(
        packet.source,
        packet.destination,
        PROTOCOLS[case.probe.method][packet.source.version],
        packet.destination_port,
        packet.source_port,
        packet.type,
        gap.device,
        facts.way.device if outward else "",
        ("established",) if gap.way == "back" and gap.where != "unanswered" else ("new",),
    )


def _answer_to(asked: Question, goes_by: str) -> Question:
    kind = {8: 0, 128: 129}.get(asked.type, -1)
    return Question(
        asked.destination,
        asked.source,
        asked.protocol,
        asked.source_port,
        asked.port,
        kind,
        goes_by=goes_by,
        states=("established",),
    )


def _never_seen(case: Case) -> Packet:
    """The packet that did not even leave its source, as it would have been."""
    probe = case.probe
    sources = [ip_address(one) for one in case.facts.addresses if one]
    source = next((one for one in sources if one.version == probe.family and not one.is_link_local), probe.address)
    protocol = PROTOCOLS[probe.method][probe.family]
    kind = ECHO_REQUEST[probe.family] if probe.method in ("ping", "mtu") else 0
    return Packet(source, probe.address, protocol, type=kind)


def _obstacle(facts: Facts, one: Obstacle) -> Cause:
    advice = f"let the pods' ranges pass in that chain, or start the podwire agent on {facts.place}: it opens it"
    if one.handle:
        advice = "remove that rule, or let the pods' ranges pass before it"
    word = "drops it" if one.certain else "may drop it"
    return Cause(
        facts.place,
        f"the firewall of {facts.place} {word}: {one.words}",
        command_at(facts, *one.command),
        advice,
        one.certain,
    )
