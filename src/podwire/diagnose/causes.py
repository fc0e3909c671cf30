# SPDX-License-Identifier: Apache-2.0
"""Explains a lost packet: takes a PacketLoss, returns the Cause with a command and the next step. Pure.

`FINDERS` has every known cause, in the order in which the kernel comes across it. A finder yields nothing if its cause
does not hold. The first certain cause is reported, else the first likely one. If no cause holds, the report says that
the hop is known and the cause is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from podwire.diagnose import causes_firewall as firewall
from podwire.diagnose import causes_link as link
from podwire.diagnose import causes_routing as routing
from podwire.diagnose.drop_point import DropKind
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.network_state import NetworkState
from podwire.diagnose.nft_verdict import source_nat_rules
from podwire.diagnose.packet_loss import Cause, PacketLoss, cause_at
from podwire.diagnose.plan import Outcome
from podwire.nft.names import TABLE_PREFIX
from podwire.record import Record


class Finder(Record):
    """A cause: the function that finds it, and the kinds of drop points that it can explain."""

    find: Callable[[PacketLoss], Iterator[Cause]]
    kinds: tuple[DropKind, ...]


FINDERS: list[Finder] = [
    Finder(link.wrong_mac, ("unanswered", "inside", "not received")),
    Finder(routing.not_masqueraded, ("unanswered", "between")),
    Finder(routing.forwarding_off, ("inside",)),
    Finder(routing.no_address, ("unanswered",)),
    Finder(routing.default_only, ("inside", "between")),
    Finder(routing.not_accepted, ("unanswered", "inside")),
    Finder(link.device_down, ("not sent", "unanswered")),
    Finder(routing.no_route, ("not sent", "unanswered", "inside")),
    Finder(link.no_carrier, ("not sent", "inside")),
    Finder(link.small_underlay, ("between",)),
    Finder(link.other_mac_beyond, ("between",)),
    Finder(link.no_neighbour, ("not sent", "unanswered", "between", "not encapsulated")),
    Finder(routing.ignores_echo, ("unanswered",)),
    Finder(firewall.too_large, ("inside",)),
    Finder(firewall.dropped, ("not sent", "unanswered", "inside", "not received")),
    Finder(link.no_neighbour, ("inside",)),  # a forwarded packet passes the firewall before the neighbour is looked up
    Finder(link.underlay, ("between",)),
    Finder(link.not_encapsulated, ("not encapsulated",)),
    Finder(link.not_decapsulated, ("not decapsulated",)),
]


def explain(loss: PacketLoss) -> Cause:
    """The first certain cause, else the first likely one, else a text that says that the cause is not known."""
    found = [cause for finder in FINDERS if loss.drop.kind in finder.kinds for cause in finder.find(loss)]
    return next((cause for cause in found if cause.sure), found[0] if found else _unknown(loss))


def _unknown(loss: PacketLoss) -> Cause:
    errors = f"; {'; '.join(loss.icmp_errors)}" if loss.icmp_errors else ""
    legacy = "; there are iptables-legacy rules, which podwire does not read" if loss.state.legacy else ""
    if loss.drop.kind == "not received" and not errors:
        words = "this time every packet was captured on the whole path: packets are lost only sometimes, or late"
        return Cause(loss.drop.at, words + legacy, (), "run the check again", sure=False)
    words = f"the packet is lost in {loss.state.endpoint}; routes, devices and firewall do not show why{errors}{legacy}"
    return cause_at(
        loss.state, words, "nstat -az", "run ping and see which drop counter of the kernel increases", False
    )


def explain_source(outcome: Outcome, source: Endpoint, state: NetworkState | None) -> Cause:
    """The cause of a wrong source address; `state` is that of the host with the seen address, or of the pod's host."""
    seen, expected, target = outcome.seen, outcome.probe.expected, outcome.probe.target
    if state is None:
        words = f"{target} sees {seen} instead of {expected}: an unknown host on the path rewrites it"
        return Cause("an unknown host", words, advice="look for NAT on the path", sure=False)
    if seen in source.sends_from:
        words = f"{state.endpoint} does not masquerade: {target} sees the pod's own address {seen}"
        advice = f"start the podwire agent on {state.endpoint} with masquerade = true"
        return cause_at(state, words, "nft list ruleset", f"{advice}; check cluster_cidrs and exceptions")
    rules = source_nat_rules(state.ruleset)
    foreign = [rule for rule in rules if not rule.table.startswith(TABLE_PREFIX)]
    words = f"{state.endpoint} masquerades inside the cluster: {target} sees {seen} instead of {expected}"
    if not rules:
        return cause_at(state, words, "conntrack -L", "look for NAT on that node and before it", sure=False)
    rule = (foreign or rules)[0]
    advice = "except the pod CIDRs of the cluster from that rule, or remove it"
    if not foreign:
        advice = "list all pod CIDRs of the cluster in cluster_cidrs (network in the plugin's configuration)"
    return cause_at(state, f"{words} ({rule.words})", rule.command, advice)
