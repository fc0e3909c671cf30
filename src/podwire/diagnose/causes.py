"""Explains a lost packet: takes a PacketLoss, returns the Cause with a command and the next step. Pure.

`FINDERS` has every known cause, in the order in which the kernel comes across it. A finder yields nothing if its cause
does not hold. The first certain cause is reported, else the first likely one. If no cause holds, the report says that
the hop is known and the cause is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from podwire.diagnose.causes_firewall import dropped, too_large
from podwire.diagnose.causes_link import (
    device_down,
    no_carrier,
    no_neighbour,
    not_decapsulated,
    not_encapsulated,
    other_mac_beyond,
    small_underlay,
    underlay,
    wrong_mac,
)
from podwire.diagnose.causes_routing import (
    default_only,
    forwarding_off,
    ignores_echo,
    no_address,
    no_route,
    not_accepted,
    not_masqueraded,
)
from podwire.diagnose.drop_point import DropKind
from podwire.diagnose.packet_loss import Cause, PacketLoss, command_at
from podwire.record import Record


class Finder(Record):
    """A cause: the function that finds it, and the kinds of drop points that it can explain."""

    find: Callable[[PacketLoss], Iterator[Cause]]
    kinds: tuple[DropKind, ...]


FINDERS: list[Finder] = [
    Finder(wrong_mac, ("unanswered", "inside", "not received")),
    Finder(not_masqueraded, ("unanswered", "between")),
    Finder(forwarding_off, ("inside",)),
    Finder(no_address, ("unanswered",)),
    Finder(default_only, ("inside", "between")),
    Finder(not_accepted, ("unanswered", "inside")),
    Finder(device_down, ("not sent", "unanswered")),
    Finder(no_route, ("not sent", "unanswered", "inside")),
    Finder(no_carrier, ("not sent", "inside")),
    Finder(small_underlay, ("between",)),
    Finder(other_mac_beyond, ("between",)),
    Finder(no_neighbour, ("not sent", "unanswered", "between", "not encapsulated")),
    Finder(ignores_echo, ("unanswered",)),
    Finder(too_large, ("inside",)),
    Finder(dropped, ("not sent", "unanswered", "inside", "not received")),
    Finder(no_neighbour, ("inside",)),  # a forwarded packet passes the firewall before the neighbour is looked up
    Finder(underlay, ("between",)),
    Finder(not_encapsulated, ("not encapsulated",)),
    Finder(not_decapsulated, ("not decapsulated",)),
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
    shown = command_at(loss.state, "nstat", "-az")
    advice = "run ping and see which drop counter of the kernel increases"
    return Cause(loss.state.endpoint, words, shown, advice, sure=False)
