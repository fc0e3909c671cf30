"""Causes in routing: routes, forwarding, the reverse path filter, masquerade, addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.attachments.identity import PREFIX
from podwire.datapath.vxlan import VXLAN_DEVICE
from podwire.diagnose.packet_loss import Cause, PacketLoss, command_at, restore_advice


def no_route(loss: PacketLoss) -> Iterator[Cause]:
    """There is no route to the destination, or a route that rejects packets."""
    state = loss.state
    command = command_at(state, "ip", "route", "get", loss.to)
    if state.route.error:
        words = f"{state.endpoint} has no route to {loss.to} ({state.route.error})"
        yield Cause(state.endpoint, words, command, restore_advice(state))
    elif state.route.kind in ("blackhole", "unreachable", "prohibit"):
        words = f"{state.endpoint} has a route of type {state.route.kind} to {loss.to}"
        yield Cause(state.endpoint, words, command, "remove that route")


def default_only(loss: PacketLoss) -> Iterator[Cause]:
    """A host has only its default route for a pod of another node."""
    state = loss.state
    if state.kind != "host" or not loss.to_pod or not state.route.default:
        return
    words = f"{state.endpoint} has only the default route to {loss.to}, by {state.route.device}"
    shown = command_at(state, "ip", "route", "get", "fibmatch", loss.to)
    if loss.after is not None and loss.after.kind == "pod":
        down = [device.name for device in state.devices.values() if device.name.startswith(PREFIX) and not device.up]
        words += f"; {', '.join(down)} is down" if down else ""
        yield Cause(state.endpoint, words, shown, restore_advice(loss.after))
        return
    tunnels = [state.devices[name] for name in VXLAN_DEVICE.values() if name in state.devices]
    if down := [device.name for device in tunnels if not device.up]:
        words += f"; the VXLAN device {down[0]} is down"
    advice = f"{restore_advice(state)}; check that its settings have the other node among the peers"
    yield Cause(state.endpoint, words, shown, advice)


def forwarding_off(loss: PacketLoss) -> Iterator[Cause]:
    """The host does not forward packets."""
    state = loss.state
    for key, value in state.sysctls.items():
        if key.endswith(("ip_forward", "forwarding")) and value == "0":
            name = key.replace("/", ".")
            yield Cause(
                state.endpoint,
                f"{state.endpoint} does not forward: {name} is 0",
                command_at(state, "sysctl", name),
                f"{' '.join(command_at(state, 'sysctl', '-w', f'{name}=1'))}; find what set it to 0 (/etc/sysctl.d); "
                "the podwire agent sets it again",
            )
            return


def not_accepted(loss: PacketLoss) -> Iterator[Cause]:
    """The kernel does not accept the packet from its input device (reverse path filter, no route)."""
    state, packet, device = loss.state, loss.packet, loss.drop.device
    if not state.input_error or packet is None:
        return
    shown = command_at(state, "ip", "route", "get", str(packet.destination), "from", str(packet.source), "iif", device)
    strict = max((value for key, value in state.sysctls.items() if key.endswith("rp_filter")), default="") == "1"
    if strict and state.reply_device != device:
        route = f"is by {state.reply_device}" if state.reply_device else "is missing"
        words = (
            f"the reverse path filter of {state.endpoint} drops packets from {packet.source} on {device}: "
            f"its route to {packet.source} {route}"
        )
        shown = command_at(state, "ip", "route", "get", str(packet.source))
        advice = f"{restore_advice(state)}: with a route to {packet.source} by {device} the filter accepts them"
    else:
        words = f"{state.endpoint} has no route from {device} to {packet.destination} ({state.input_error})"
        advice = restore_advice(state)
    yield Cause(state.endpoint, words, shown, advice)


def not_masqueraded(loss: PacketLoss) -> Iterator[Cause]:
    """The packet left the cluster with the pod's own address, for which nothing outside has a route."""
    state = loss.not_masqueraded_by
    if state is None:
        return
    words = f"{state.endpoint} sends it with the pod's own address: it is not masqueraded, so replies have no route"
    shown = command_at(state, "nft", "list", "ruleset")
    yield Cause(state.endpoint, words, shown, f"{restore_advice(state)} (masquerade = true)")


def no_address(loss: PacketLoss) -> Iterator[Cause]:
    """The endpoint does not have the address that was called."""
    state = loss.state
    address = str(loss.probe.address)
    if loss.drop.direction == "reply" and state.addresses and address not in state.addresses:
        yield Cause(
            state.endpoint,
            f"{state.endpoint} does not have the address {address}",
            command_at(state, "ip", "address", "show"),
            f"correct the endpoint's addresses, or {restore_advice(state)}",
        )


def ignores_echo(loss: PacketLoss) -> Iterator[Cause]:
    """A sysctl makes the kernel ignore echo requests."""
    state = loss.state
    for key, value in state.sysctls.items():
        if "echo_ignore_all" in key and value == "1" and loss.probe.method == "ping":
            name = key.replace("/", ".")
            command = command_at(state, "sysctl", name)
            advice = " ".join(command_at(state, "sysctl", "-w", f"{name}=0"))
            yield Cause(state.endpoint, f"{state.endpoint} ignores pings: {name} is 1", command, advice)
