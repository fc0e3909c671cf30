"""Causes on the wire: devices, neighbours and MACs, VXLAN, the network below. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.diagnose.case import Case, Cause, command_at, wire_again
from podwire.diagnose.causes_firewall import dropped

NO_ANSWER = ("FAILED", "INCOMPLETE")


def device_down(case: Case) -> Iterator[Cause]:
    facts = case.facts
    if facts.kind != "pod" or not facts.devices:
        return
    outward = [one for one in facts.devices.values() if one.name != "lo"]
    shown = command_at(facts, "ip", "link", "show")
    if not outward:
        yield Cause(facts.place, f"{facts.place} has no device but lo", shown, wire_again(facts))
    elif not any(one.up for one in outward):
        name = outward[0].name
        advice = f"{' '.join(command_at(facts, 'ip', 'link', 'set', name, 'up'))}; or {wire_again(facts)}"
        yield Cause(facts.place, f"{name} is down in {facts.place}", shown, advice)
    elif not any(one.carrier for one in outward):
        name = outward[0].name
        words = f"{name} of {facts.place} has no carrier: its other end, on the host, is down"
        yield Cause(facts.place, words, shown, f"raise it on the host (ip link set DEVICE up); or {wire_again(facts)}")


def no_carrier(case: Case) -> Iterator[Cause]:
    """A host's device towards a pod whose other end is down."""
    facts = case.facts
    device = facts.devices.get(facts.way.device)
    if facts.kind == "host" and device is not None and not (device.up and device.carrier):
        end = "its other end is down" if device.up else "it is down"
        words = f"{device.name} of {facts.place}, the way to {case.to}, carries nothing: {end}"
        shown = command_at(facts, "ip", "link", "show", device.name)
        yield Cause(facts.place, words, shown, f"raise it, there or at its other end; {wire_again(facts)}")


def no_neighbour(case: Case) -> Iterator[Cause]:
    facts = case.facts
    state = facts.neighbour
    if not any(word in state for word in NO_ANSWER):
        return
    hop = facts.way.gateway or case.to
    words = f"{hop} does not answer {facts.place} on {facts.way.device} (neighbour {state})"
    protocol = "ARP" if facts.family == 4 else "neighbour discovery"
    yield Cause(
        facts.place,
        words,
        command_at(facts, "ip", "neighbour", "show", "to", hop, "dev", facts.way.device),
        f"see that {hop} is up and on the same wire, and that {protocol} passes; {wire_again(facts)}",
    )


def wrong_mac(case: Case) -> Iterator[Cause]:
    """The frame came, but for a MAC that its device has not: the sender's neighbour entry is wrong."""
    gap, facts = case.gap, case.facts
    device = facts.devices.get(gap.device)
    if not gap.other_mac or gap.packet is None or device is None or device.master:
        return
    sender = case.before.place if case.before else "the hop before"
    words = (
        f"{sender} sends to MAC {gap.packet.to_mac}, but {gap.device} of {facts.place} has {device.mac}: "
        "a wrong neighbour entry"
    )
    shown, advice = command_at(facts, "ip", "link", "show", gap.device), "correct the neighbour entry of the hop before"
    if case.before:
        shown = command_at(case.before, "ip", "neighbour", "show")
        advice = f"delete the entry with {gap.packet.to_mac}; {wire_again(case.before)}"
    yield Cause(sender, words, shown, advice)


def other_mac_beyond(case: Case) -> Iterator[Cause]:
    """The next place is on the same wire, and has another MAC than the neighbour entry for it."""
    facts, after = case.facts, case.after
    hop = facts.way.gateway or case.to
    if after is None or not facts.neighbour_mac or hop not in after.addresses:
        return
    if facts.neighbour_mac in {one.mac for one in after.devices.values()}:
        return
    words = f"{facts.place} sends {hop} to MAC {facts.neighbour_mac}, which no device of {after.place} has"
    shown = command_at(facts, "ip", "neighbour", "show", "to", hop, "dev", facts.way.device)
    yield Cause(facts.place, words, shown, f"delete that entry; {wire_again(facts)}")


def small_underlay(case: Case) -> Iterator[Cause]:
    if not case.too_large:
        return
    words = f"the wire from {case.gap.at} to {case.gap.next} carries less than the MTU of {case.gap.device} says"
    yield Cause(
        case.gap.at,
        words,
        command_at(case.facts, "ip", "link", "show", case.gap.device),
        "set that device's MTU to what the wire carries, or the pods' MTU (mtu in the settings)",
    )


def cannot_unwrap(case: Case) -> Iterator[Cause]:
    facts, packet = case.facts, case.packet
    tunnels = [one for one in facts.devices.values() if one.kind == "vxlan"]
    shown = command_at(facts, "ip", "-d", "link", "show", "type", "vxlan")
    came = f"VXLAN from the other node arrives at {facts.place}"
    if not tunnels:
        advice = f"{wire_again(facts)}; its settings must have the other node among the peers"
        yield Cause(facts.place, f"{came}, which has no VXLAN device", shown, advice)
    elif down := [one.name for one in tunnels if not one.up]:
        yield Cause(facts.place, f"{came}, but {down[0]} is down", shown, wire_again(facts))
    elif packet is not None:
        yield from dropped(case)
        named = ", ".join(f"{one.name} (VNI {one.vni}, port {one.port})" for one in tunnels)
        words = f"{came} and is not taken by {named}"
        yield Cause(facts.place, words, shown, "give all nodes the same tunnel.vni and tunnel.port", sure=False)


def cannot_wrap(case: Case) -> Iterator[Cause]:
    facts = case.facts
    words = f"{facts.place} gives it to {case.gap.device}, and nothing comes out: the other node is not known to it"
    yield Cause(
        facts.place, words, command_at(facts, "bridge", "fdb", "show", "dev", case.gap.device), wire_again(facts)
    )


def underlay(case: Case) -> Iterator[Cause]:
    """It left the last place that we can see, towards the right next one."""
    gap, facts = case.gap, case.facts
    said = f" ({'; '.join(case.complaints)})" if case.complaints else ""
    packet = gap.packet
    if packet is not None and packet.tunnel_to is not None:
        words = f"VXLAN to {packet.tunnel_to} leaves {gap.at} by {gap.device} and does not arrive at {gap.next}{said}"
        port = next((one.port for one in facts.devices.values() if one.kind == "vxlan"), 0)
        advice = (
            f"let UDP port {port or '4789'} pass between the nodes (firewalls, security groups), or change tunnel.port"
        )
        yield Cause(
            gap.at, words, command_at(facts, "tcpdump", "-ni", gap.device, "host", str(packet.tunnel_to)), advice, False
        )
        return
    if not gap.device:
        return
    words = f"it leaves {gap.at} by {gap.device} and does not arrive at {gap.next}{said}"
    advice = f"look at what lies between: the same capture on {gap.next}, its devices, the routers on the way"
    yield Cause(gap.at, words, command_at(facts, "tcpdump", "-ni", gap.device, "host", case.to), advice, False)
