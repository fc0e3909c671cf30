# SPDX-License-Identifier: Apache-2.0
"""Causes on links: devices, neighbour entries and MAC addresses, VXLAN, the network between nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.diagnose.causes_firewall import dropped
from podwire.diagnose.packet_loss import Cause, PacketLoss, cause_at, command_at, restore_advice


def device_down(loss: PacketLoss) -> Iterator[Cause]:
    """A pod has no device that is up and has a carrier."""
    state, pod = loss.state, loss.state.endpoint
    if state.kind != "pod" or not state.devices:
        return
    devices = [device for device in state.devices.values() if device.name != "lo"]
    restore = restore_advice(state)
    if not devices:
        yield cause_at(state, f"{pod} has no device except lo", "ip link show", restore)
        return
    name = devices[0].name
    if not any(device.up for device in devices):
        advice = f"{' '.join(command_at(state, 'ip', 'link', 'set', name, 'up'))}; or {restore}"
        yield cause_at(state, f"{name} is down in {pod}", "ip link show", advice)
    elif not any(device.carrier for device in devices):
        words = f"{name} of {pod} has no carrier: its peer device on the host is down"
        advice = f"bring it up on the host (ip link set DEVICE up); or {restore}"
        yield cause_at(state, words, "ip link show", advice)


def no_carrier(loss: PacketLoss) -> Iterator[Cause]:
    """A host's device to a pod is down, or its peer device is."""
    state = loss.state
    device = state.devices.get(state.route.device)
    if state.kind == "host" and device is not None and not (device.up and device.carrier):
        reason = "its peer device is down" if device.up else "it is down"
        words = f"{device.name} of {state.endpoint}, on the route to {loss.to}, sends nothing: {reason}"
        advice = f"bring it or its peer device up; {restore_advice(state)}"
        yield cause_at(state, words, f"ip link show {device.name}", advice)


def no_neighbour(loss: PacketLoss) -> Iterator[Cause]:
    """The next hop does not answer ARP or neighbour discovery."""
    state, hop, device = loss.state, loss.next_hop, loss.state.route.device
    if "FAILED" in state.neighbour or "INCOMPLETE" in state.neighbour:
        protocol = "ARP" if state.family == 4 else "neighbour discovery"
        words = f"{hop} does not answer {state.endpoint} on {device} (neighbour {state.neighbour})"
        advice = f"check that {hop} is up and on the same link, and that {protocol} is not dropped"
        yield cause_at(state, words, f"ip neighbour show to {hop} dev {device}", f"{advice}; {restore_advice(state)}")


def wrong_mac(loss: PacketLoss) -> Iterator[Cause]:
    """The frame arrived with a MAC address that is not the device's: the sender's neighbour entry is wrong."""
    drop, state, before = loss.drop, loss.state, loss.before
    device = state.devices.get(drop.device)
    if not drop.other_mac or drop.packet is None or device is None or device.master:
        return
    mac = drop.packet.to_mac
    words = f"sends to MAC {mac}, but {drop.device} of {state.endpoint} has {device.mac}: a wrong neighbour entry"
    if before:
        advice = f"delete the entry with {mac}; {restore_advice(before)}"
        yield cause_at(before, f"{before.endpoint} {words}", "ip neighbour show", advice)
    else:
        shown = command_at(state, "ip", "link", "show", drop.device)
        sender = "the previous hop"
        yield Cause(sender, f"{sender} {words}", shown, "correct the neighbour entry of the previous hop")


def other_mac_beyond(loss: PacketLoss) -> Iterator[Cause]:
    """The next endpoint is on the same link, and its MAC address is not that of the neighbour entry."""
    state, after, hop, mac = loss.state, loss.after, loss.next_hop, loss.state.neighbour_mac
    if after is None or not mac or hop not in after.addresses:
        return
    if mac not in {device.mac for device in after.devices.values()}:
        words = f"{state.endpoint} sends {hop} to MAC {mac}, which no device of {after.endpoint} has"
        command = f"ip neighbour show to {hop} dev {state.route.device}"
        yield cause_at(state, words, command, f"delete that entry; {restore_advice(state)}")


def small_underlay(loss: PacketLoss) -> Iterator[Cause]:
    """The network between nodes carries smaller packets than the MTU of the node's device."""
    if loss.too_large:
        drop = loss.drop
        words = f"the network from {drop.at} to {drop.next} carries less than the MTU of {drop.device}"
        advice = "set the MTU of that device to what the network carries, or the pods' MTU (mtu in the settings)"
        yield cause_at(loss.state, words, f"ip link show {drop.device}", advice)


def not_decapsulated(loss: PacketLoss) -> Iterator[Cause]:
    """VXLAN arrives, and no VXLAN device takes it."""
    state, command = loss.state, "ip -d link show type vxlan"
    tunnels = [device for device in state.devices.values() if device.kind == "vxlan"]
    arrives = f"VXLAN from the other node arrives at {state.endpoint}"
    if not tunnels:
        advice = f"{restore_advice(state)}; its settings must have the other node among the peers"
        yield cause_at(state, f"{arrives}, which has no VXLAN device", command, advice)
    elif down := [device.name for device in tunnels if not device.up]:
        yield cause_at(state, f"{arrives}, but {down[0]} is down", command, restore_advice(state))
    elif loss.packet is not None:
        yield from dropped(loss)
        known = ", ".join(f"{device.name} (VNI {device.vni}, port {device.port})" for device in tunnels)
        advice = "set the same tunnel.vni and tunnel.port on all nodes"
        yield cause_at(state, f"{arrives} and does not belong to {known}", command, advice, sure=False)


def not_encapsulated(loss: PacketLoss) -> Iterator[Cause]:
    """The VXLAN device sends nothing: it has no forwarding entry for the other node."""
    state, device = loss.state, loss.drop.device
    words = f"{state.endpoint} sends it to {device}, which sends nothing: it has no forwarding entry for the other node"
    yield cause_at(state, words, f"bridge fdb show dev {device}", restore_advice(state))


def underlay(loss: PacketLoss) -> Iterator[Cause]:
    """The packet left the last endpoint that can be watched, and its route is right."""
    drop, packet = loss.drop, loss.packet
    errors = f" ({'; '.join(loss.icmp_errors)})" if loss.icmp_errors else ""
    lost = f"leaves {drop.at} by {drop.device} and does not arrive at {drop.next}{errors}"
    if packet is not None and packet.tunnel_to is not None:
        words, to = f"VXLAN to {packet.tunnel_to} {lost}", str(packet.tunnel_to)
        port = loss.state.tunnel_port or 4789
        advice = f"accept UDP port {port} between the nodes (firewalls, security groups), or change tunnel.port"
    elif drop.device:
        words, to = f"it {lost}", loss.to
        advice = f"run the same capture on {drop.next}, look at its devices and at the routers"
        advice = f"check what is between them: {advice}"
    else:
        return
    yield cause_at(loss.state, words, f"tcpdump -ni {drop.device} host {to}", advice, sure=False)
