# SPDX-License-Identifier: Apache-2.0
"""Causes in firewalls: a chain that drops the packet, or the ICMP error that it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from podwire.diagnose.network_state import NetworkState
from podwire.diagnose.nft_verdict import FilteredPacket, PacketDrop, find_drops
from podwire.diagnose.packet_loss import Cause, PacketLoss, cause_at
from podwire.diagnose.packets import ECHO_REQUEST, ICMP, ICMPV6, TCP, UDP, Packet

ICMP_OF = {4: ICMP, 6: ICMPV6}
PROTOCOLS = {"ping": ICMP_OF, "mtu": ICMP_OF, "tcp": {4: TCP, 6: TCP}, "udp": {4: UDP, 6: UDP}}
OUTPUT_HOOKS = ("output", "postrouting")
INPUT_HOOKS = ("ingress", "prerouting", "input")
HOOKS = {
    "not sent": OUTPUT_HOOKS,
    "unanswered": INPUT_HOOKS,
    "inside": ("ingress", "prerouting", "forward", "postrouting"),
    "not decapsulated": INPUT_HOOKS,
    "not received": INPUT_HOOKS,
}


def dropped(loss: PacketLoss) -> Iterator[Cause]:
    """The ruleset drops the packet, or the reply to it."""
    filtered = _filtered_packet(loss, loss.packet or _unsent_packet(loss))
    found = find_drops(loss.state.ruleset, HOOKS[loss.drop.kind], filtered)
    if loss.drop.kind == "unanswered":
        found += find_drops(loss.state.ruleset, OUTPUT_HOOKS, _reply_to(filtered, loss.state.route.device))
    found.sort(key=lambda packet_drop: not packet_drop.certain)
    yield from (_cause_of(loss.state, packet_drop) for packet_drop in found[:1])


def too_large(loss: PacketLoss) -> Iterator[Cause]:
    """A host must answer a packet that is too large for its route with an ICMP error, and that error is dropped."""
    state, packet = loss.state, loss.packet
    device = state.devices.get(state.route.device)
    if not loss.too_large or packet is None or device is None or device.mtu >= loss.too_large:
        return
    icmp_type = 3 if state.family == 4 else 2
    error = FilteredPacket(
        packet.destination,
        packet.source,
        ICMP_OF[state.family],
        type=icmp_type,
        output_device=loss.drop.device,
        states=("related",),
    )
    words = f"{state.endpoint} must report that {device.name} carries {device.mtu} bytes, and its ICMP error is dropped"
    for packet_drop in find_drops(state.ruleset, OUTPUT_HOOKS, error)[:1]:
        advice = "accept ICMP 'fragmentation needed' and 'packet too big'"
        yield cause_at(state, f"{words}: {packet_drop.words}", packet_drop.command, advice, packet_drop.certain)
        return
    advice = f"accept ICMP, or set the pods' MTU to {device.mtu} (mtu in the settings)"
    yield cause_at(state, words, f"ip link show {device.name}", advice)


def _filtered_packet(loss: PacketLoss, packet: Packet) -> FilteredPacket:
    """The lost packet as a firewall sees it: in a tunnel, the outer packet."""
    state, drop = loss.state, loss.drop
    if drop.kind == "not decapsulated" and packet.tunnel_from is not None and packet.tunnel_to is not None:
        outer, states = (packet.tunnel_from, packet.tunnel_to, UDP, state.tunnel_port), ("new", "established")
        return FilteredPacket(*outer, input_device=drop.device, states=states)
    is_sent = drop.kind in ("inside", "not sent", "not encapsulated")
    is_reply = drop.direction == "reply" and drop.kind != "unanswered"
    return FilteredPacket(
        packet.source,
        packet.destination,
        PROTOCOLS[loss.probe.method][packet.source.version],
        packet.destination_port,
        packet.source_port,
        packet.type,
        drop.device,
        state.route.device if is_sent else "",
        ("established",) if is_reply else ("new",),
    )


def _reply_to(request: FilteredPacket, output_device: str) -> FilteredPacket:
    addresses = request.destination, request.source, request.protocol, request.source_port, request.port
    icmp_type = {8: 0, 128: 129}.get(request.type, -1)
    return FilteredPacket(*addresses, icmp_type, output_device=output_device, states=("established",))


def _unsent_packet(loss: PacketLoss) -> Packet:
    """The packet of a probe whose source sent nothing."""
    probe = loss.probe
    addresses = [ip_address(text) for text in loss.state.addresses if text]
    usable = (address for address in addresses if address.version == probe.family and not address.is_link_local)
    protocol = PROTOCOLS[probe.method][probe.family]
    icmp_type = ECHO_REQUEST[probe.family] if probe.method in ("ping", "mtu") else 0
    return Packet(next(usable, probe.address), probe.address, protocol, type=icmp_type)


def _cause_of(state: NetworkState, packet_drop: PacketDrop) -> Cause:
    endpoint, verb = state.endpoint, "drops it" if packet_drop.certain else "may drop it"
    advice = f"accept the pod CIDRs in that chain, or start the podwire agent on {endpoint}: it adds the accept rule"
    if packet_drop.handle:
        advice = "remove that rule, or accept the pod CIDRs before it"
    words = f"the firewall of {endpoint} {verb}: {packet_drop.words}"
    return cause_at(state, words, packet_drop.command, advice, packet_drop.certain)
