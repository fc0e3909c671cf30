# SPDX-License-Identifier: Apache-2.0
"""Causes in routing: routes, forwarding, the reverse path filter, masquerade, addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.attachments.identity import PREFIX
from podwire.datapath.vxlan import VXLAN_DEVICE
from podwire.diagnose.packet_loss import Cause, PacketLoss, cause_at, command_at, restore_advice


def no_route(loss: PacketLoss) -> Iterator[Cause]:
    """There is no route to the destination, or a route that rejects packets."""
    state, command = loss.state, f"ip route get {loss.to}"
    if state.route.error:
        words = f"{state.endpoint} has no route to {loss.to} ({state.route.error})"
        yield cause_at(state, words, command, restore_advice(state))
    elif state.route.kind in ("blackhole", "unreachable", "prohibit"):
        words = f"{state.endpoint} has a route of type {state.route.kind} to {loss.to}"
        yield cause_at(state, words, command, "remove that route")


def default_only(loss: PacketLoss) -> Iterator[Cause]:
    """A host has only its default route for a pod of another node."""
    state, command = loss.state, f"ip route get fibmatch {loss.to}"
    if state.kind != "host" or not loss.to_pod or not state.route.default:
        return
    words = f"{state.endpoint} has only the default route to {loss.to}, by {state.route.device}"
    down = [device.name for device in state.devices.values() if not device.up]
    if loss.after is not None and loss.after.kind == "pod":
        names = ", ".join(name for name in down if name.startswith(PREFIX))
        yield cause_at(state, words + (f"; {names} is down" if names else ""), command, restore_advice(loss.after))
        return
    if tunnels := [name for name in VXLAN_DEVICE.values() if name in down]:
        words += f"; the VXLAN device {tunnels[0]} is down"
    advice = f"{restore_advice(state)}; check that its settings have the other node among the peers"
    yield cause_at(state, words, command, advice)


def forwarding_off(loss: PacketLoss) -> Iterator[Cause]:
    """The host does not forward packets."""
    state = loss.state
    for key, value in state.sysctls.items():
        if key.endswith(("ip_forward", "forwarding")) and value == "0":
            name = key.replace("/", ".")
            repair = " ".join(command_at(state, "sysctl", "-w", f"{name}=1"))
            advice = f"{repair}; find what set it to 0 (/etc/sysctl.d); the podwire agent sets it again"
            yield cause_at(state, f"{state.endpoint} does not forward: {name} is 0", f"sysctl {name}", advice)
            return


def not_accepted(loss: PacketLoss) -> Iterator[Cause]:
    """The kernel does not accept the packet from its input device (reverse path filter, no route)."""
    state, packet, device = loss.state, loss.packet, loss.drop.device
    if not state.input_error or packet is None:
        return
    source, destination, restore = packet.source, packet.destination, restore_advice(state)
    strict = max((value for key, value in state.sysctls.items() if key.endswith("rp_filter")), default="") == "1"
    if strict and state.reply_device != device:
        route = f"is by {state.reply_device}" if state.reply_device else "is missing"
        words = f"the reverse path filter of {state.endpoint} drops packets from {source} on {device}"
        advice = f"{restore}: with a route to {source} by {device} the filter accepts them"
        yield cause_at(state, f"{words}: its route to {source} {route}", f"ip route get {source}", advice)
    else:
        words = f"{state.endpoint} has no route from {device} to {destination} ({state.input_error})"
        yield cause_at(state, words, f"ip route get {destination} from {source} iif {device}", restore)


def not_masqueraded(loss: PacketLoss) -> Iterator[Cause]:
    """The packet left the cluster with the pod's own address, for which nothing outside has a route."""
    if state := loss.not_masqueraded_by:
        words = f"{state.endpoint} sends it with the pod's own address: it is not masqueraded, so replies have no route"
        yield cause_at(state, words, "nft list ruleset", f"{restore_advice(state)} (masquerade = true)")


def no_address(loss: PacketLoss) -> Iterator[Cause]:
    """The endpoint does not have the address that was called."""
    state, address = loss.state, str(loss.probe.address)
    if loss.drop.direction == "reply" and state.addresses and address not in state.addresses:
        words = f"{state.endpoint} does not have the address {address}"
        advice = f"correct the endpoint's addresses, or {restore_advice(state)}"
        yield cause_at(state, words, "ip address show", advice)


def ignores_echo(loss: PacketLoss) -> Iterator[Cause]:
    """A sysctl makes the kernel ignore echo requests."""
    state = loss.state
    for key, value in state.sysctls.items():
        if "echo_ignore_all" in key and value == "1" and loss.probe.method == "ping":
            name = key.replace("/", ".")
            advice = " ".join(command_at(state, "sysctl", "-w", f"{name}=0"))
            yield cause_at(state, f"{state.endpoint} ignores pings: {name} is 1", f"sysctl {name}", advice)
