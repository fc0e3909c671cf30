"""Causes in routing: routes, forwarding, reverse paths, masquerade, addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from podwire.attachments.identity import PREFIX
from podwire.datapath.peer_routes import VXLAN_DEVICE
from podwire.diagnose.case import Case, Cause, command_at, wire_again


def no_route(case: Case) -> Iterator[Cause]:
    facts = case.facts
    command = command_at(facts, "ip", "route", "get", case.to)
    if facts.way.error:
        words = f"{facts.place} has no route to {case.to} ({facts.way.error})"
        yield Cause(facts.place, words, command, wire_again(facts))
    elif facts.way.kind in ("blackhole", "unreachable", "prohibit"):
        words = f"{facts.place} has a route of type {facts.way.kind} to {case.to}"
        yield Cause(facts.place, words, command, "remove that route")


def default_only(case: Case) -> Iterator[Cause]:
    """A host that knows a pod of another node only by its default route sends it astray."""
    facts = case.facts
    if facts.kind != "host" or not case.to_pod or not facts.way.default:
        return
    words = f"{facts.place} has no route of its own to {case.to}: it goes by {facts.way.device}, the default route"
    shown = command_at(facts, "ip", "route", "get", "fibmatch", case.to)
    if case.after is not None and case.after.kind == "pod":
        down = [one.name for one in facts.devices.values() if one.name.startswith(PREFIX) and not one.up]
        words += f"; {', '.join(down)} is down" if down else ""
        yield Cause(facts.place, words, shown, wire_again(case.after))
        return
    tunnels = [facts.devices[name] for name in VXLAN_DEVICE.values() if name in facts.devices]
    if down := [one.name for one in tunnels if not one.up]:
        words += f"; the VXLAN device {down[0]} is down"
    advice = f"{wire_again(facts)}; see that its settings have the other node among the peers"
    yield Cause(facts.place, words, shown, advice)


def forwarding_off(case: Case) -> Iterator[Cause]:
    facts = case.facts
    for key, value in facts.sysctls.items():
        if key.endswith(("ip_forward", "forwarding")) and value == "0":
            name = key.replace("/", ".")
            yield Cause(
                facts.place,
                f"{facts.place} does not forward: {name} is 0",
                command_at(facts, "sysctl", name),
                f"{' '.join(command_at(facts, 'sysctl', '-w', f'{name}=1'))}; see what set it to 0 (/etc/sysctl.d); "
                "the podwire agent sets it again",
            )
            return


def arrival_refused(case: Case) -> Iterator[Cause]:
    facts, packet, device = case.facts, case.packet, case.gap.device
    if not facts.arrival_error or packet is None:
        return
    shown = command_at(facts, "ip", "route", "get", str(packet.destination), "from", str(packet.source), "iif", device)
    strict = max((value for key, value in facts.sysctls.items() if key.endswith("rp_filter")), default="") == "1"
    if strict and facts.back_device != device:
        way = facts.back_device or "nowhere"
        words = (
            f"the reverse path filter of {facts.place} takes no packets from {packet.source} by {device}: "
            f"its route back leads to {way}"
        )
        shown = command_at(facts, "ip", "route", "get", str(packet.source))
        advice = f"{wire_again(facts)}: with the route to {packet.source} by {device} the filter lets it pass"
    else:
        words = f"{facts.place} has no way from {device} to {packet.destination} ({facts.arrival_error})"
        advice = wire_again(facts)
    yield Cause(facts.place, words, shown, advice)


def not_masqueraded(case: Case) -> Iterator[Cause]:
    """Out of the cluster with a pod's own address: nobody out there has a way back."""
    host = case.bare_at
    if host is None:
        return
    words = f"{host.place} lets it out with the pod's own address: it is not masqueraded, so no answer finds back"
    yield Cause(
        host.place, words, command_at(host, "nft", "list", "ruleset"), f"{wire_again(host)} (masquerade = true)"
    )


def no_address(case: Case) -> Iterator[Cause]:
    facts = case.facts
    address = str(case.probe.address)
    if case.gap.way == "back" and facts.addresses and address not in facts.addresses:
        yield Cause(
            facts.place,
            f"{facts.place} does not have the address {address}",
            command_at(facts, "ip", "address", "show"),
            f"correct the endpoint's addresses, or {wire_again(facts)}",
        )


def ignores_echo(case: Case) -> Iterator[Cause]:
    facts = case.facts
    for key, value in facts.sysctls.items():
        if "echo_ignore_all" in key and value == "1" and case.probe.method == "ping":
            name = key.replace("/", ".")
            command = command_at(facts, "sysctl", name)
            advice = " ".join(command_at(facts, "sysctl", "-w", f"{name}=0"))
            yield Cause(facts.place, f"{facts.place} ignores pings: {name} is 1", command, advice)
