"""Causes on links: devices, neighbour entries and MAC addresses, VXLAN, the network between nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.diagnose.causes_firewall import dropped
from podwire.diagnose.packet_loss import Cause, PacketLoss, command_at, restore_advice

NO_ANSWER = ("FAILED", "INCOMPLETE")


def device_down(loss: PacketLoss) -> Iterator[Cause]:
    """A pod has no device that is up and has a carrier."""
    state = loss.state
    if state.kind != "pod" or not state.devices:
        return
    pod = state.endpoint
    devices = [device for device in state.devices.values() if device.name != "lo"]
    shown = command_at(state, "ip", "link", "show")
    if not devices:
        yield Cause(pod, f"{pod} has no device except lo", shown, restore_advice(state))
    elif not any(device.up for device in devices):
        name = devices[0].name
        advice = f"{' '.join(command_at(state, 'ip', 'link', 'set', name, 'up'))}; or {restore_advice(state)}"
        yield Cause(pod, f"{name} is down in {pod}", shown, advice)
    elif not any(device.carrier for device in devices):
        words = f"{devices[0].name} of {pod} has no carrier: its peer device on the host is down"
        advice = f"bring it up on the host (ip link set DEVICE up); or {restore_advice(state)}"
        yield Cause(pod, words, shown, advice)


def no_carrier(loss: PacketLoss) -> Iterator[Cause]:
    """A host's device to a pod is down, or its peer device is."""
    state = loss.state
    device = state.devices.get(state.route.device)
    if state.kind == "host" and device is not None and not (device.up and device.carrier):
        reason = "its peer device is down" if device.up else "it is down"
        words = f"{device.name} of {state.endpoint}, on the route to {loss.to}, sends nothing: {reason}"
        shown = command_at(state, "ip", "link", "show", device.name)
        yield Cause(state.endpoint, words, shown, f"bring it or its peer device up; {restore_advice(state)}")


def no_neighbour(loss: PacketLoss) -> Iterator[Cause]:
    """The next hop does not answer ARP or neighbour discovery."""
    state = loss.state
    if not any(nud in state.neighbour for nud in NO_ANSWER):
        return
    hop = state.route.gateway or loss.to
    protocol = "ARP" if state.family == 4 else "neighbour discovery"
    yield Cause(
        state.endpoint,
        f"{hop} does not answer {state.endpoint} on {state.route.device} (neighbour {state.neighbour})",
        command_at(state, "ip", "neighbour", "show", "to", hop, "dev", state.route.device),
        f"check that {hop} is up and on the same link, and that {protocol} is not dropped; {restore_advice(state)}",
    )


def wrong_mac(loss: PacketLoss) -> Iterator[Cause]:
    """The frame arrived with a MAC address that is not the device's: the sender's neighbour entry is wrong."""
    drop, state, before = loss.drop, loss.state, loss.before
    device = state.devices.get(drop.device)
    if not drop.other_mac or drop.packet is None or device is None or device.master:
        return
    sender = before.endpoint if before else "the previous hop"
    words = (
        f"{sender} sends to MAC {drop.packet.to_mac}, but {drop.device} of {state.endpoint} has {device.mac}: "
        "a wrong neighbour entry"
    )
    shown = command_at(state, "ip", "link", "show", drop.device)
    advice = "correct the neighbour entry of the previous hop"
    if before:
        shown = command_at(before, "ip", "neighbour", "show")
        advice = f"delete the entry with {drop.packet.to_mac}; {restore_advice(before)}"
    yield Cause(sender, words, shown, advice)


def other_mac_beyond(loss: PacketLoss) -> Iterator[Cause]:
    """The next endpoint is on the same link, and its MAC address is not that of the neighbour entry."""
    state, after = loss.state, loss.after
    hop = state.route.gateway or loss.to
    if after is None or not state.neighbour_mac or hop not in after.addresses:
        return
    if state.neighbour_mac in {device.mac for device in after.devices.values()}:
        return
    words = f"{state.endpoint} sends {hop} to MAC {state.neighbour_mac}, which no device of {after.endpoint} has"
    shown = command_at(state, "ip", "neighbour", "show", "to", hop, "dev", state.route.device)
    yield Cause(state.endpoint, words, shown, f"delete that entry; {restore_advice(state)}")


def small_underlay(loss: PacketLoss) -> Iterator[Cause]:
    """The network between nodes carries smaller packets than the MTU of the node's device."""
    if not loss.too_large:
        return
    drop = loss.drop
    yield Cause(
        drop.at,
        f"the network from {drop.at} to {drop.next} carries less than the MTU of {drop.device}",
        command_at(loss.state, "ip", "link", "show", drop.device),
        "set the MTU of that device to what the network carries, or the pods' MTU (mtu in the settings)",
    )


def not_decapsulated(loss: PacketLoss) -> Iterator[Cause]:
    """VXLAN arrives, and no VXLAN device takes it."""
    state = loss.state
    tunnels = [device for device in state.devices.values() if device.kind == "vxlan"]
    shown = command_at(state, "ip", "-d", "link", "show", "type", "vxlan")
    arrives = f"VXLAN from the other node arrives at {state.endpoint}"
    if not tunnels:
        advice = f"{restore_advice(state)}; its settings must have the other node among the peers"
        yield Cause(state.endpoint, f"{arrives}, which has no VXLAN device", shown, advice)
    elif down := [device.name for device in tunnels if not device.up]:
        yield Cause(state.endpoint, f"{arrives}, but {down[0]} is down", shown, restore_advice(state))
    elif loss.packet is not None:
        yield from dropped(loss)
        known = ", ".join(f"{device.name} (VNI {device.vni}, port {device.port})" for device in tunnels)
        words = f"{arrives} and does not belong to {known}"
        yield Cause(state.endpoint, words, shown, "set the same tunnel.vni and tunnel.port on all nodes", sure=False)


def not_encapsulated(loss: PacketLoss) -> Iterator[Cause]:
    """The VXLAN device sends nothing: it has no forwarding entry for the other node."""
    state, device = loss.state, loss.drop.device
    words = f"{state.endpoint} sends it to {device}, which sends nothing: it has no forwarding entry for the other node"
    yield Cause(state.endpoint, words, command_at(state, "bridge", "fdb", "show", "dev", device), restore_advice(state))


def underlay(loss: PacketLoss) -> Iterator[Cause]:
    """The packet left the last endpoint that can be watched, and its route is right."""
    drop, state, packet = loss.drop, loss.state, loss.packet
    errors = f" ({'; '.join(loss.icmp_errors)})" if loss.icmp_errors else ""
    if packet is not None and packet.tunnel_to is not None:
        tunnel_to = str(packet.tunnel_to)
        words = f"VXLAN to {tunnel_to} leaves {drop.at} by {drop.device} and does not arrive at {drop.next}{errors}"
        port = next((device.port for device in state.devices.values() if device.kind == "vxlan"), 0) or 4789
        advice = f"accept UDP port {port} between the nodes (firewalls, security groups), or change tunnel.port"
        shown = command_at(state, "tcpdump", "-ni", drop.device, "host", tunnel_to)
        yield Cause(drop.at, words, shown, advice, False)
        return
    if not drop.device:
        return
    words = f"it leaves {drop.at} by {drop.device} and does not arrive at {drop.next}{errors}"
    advice = f"check what is between them: run the same capture on {drop.next}, look at its devices and at the routers"
    yield Cause(drop.at, words, command_at(state, "tcpdump", "-ni", drop.device, "host", loss.to), advice, False)
