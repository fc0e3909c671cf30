"""Why a packet was lost there: a case in, a cause, a command and a next step out. Pure.

The causes are tried in the order in which the kernel would have met them; the first that holds is told. Where none
holds, that is said: the place is certain, the cause is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from podwire.diagnose.case import Case, Cause, command_at
from podwire.diagnose.causes_firewall import dropped, too_large
from podwire.diagnose.causes_link import (
    cannot_unwrap,
    cannot_wrap,
    device_down,
    no_carrier,
    no_neighbour,
    other_mac_beyond,
    small_underlay,
    underlay,
    wrong_mac,
)
from podwire.diagnose.causes_routing import (
    arrival_refused,
    default_only,
    forwarding_off,
    ignores_echo,
    no_address,
    no_route,
    not_masqueraded,
)

Finder = Callable[[Case], Iterator[Cause]]


def explain(case: Case) -> Cause:
    """The first cause that is certain, else the first that is likely."""
    found = [cause for finder in FINDERS[case.gap.where] for cause in finder(case)]
    return next((one for one in found if one.sure), found[0] if found else _unknown(case))


def _unknown(case: Case) -> Cause:
    said = f"; {'; '.join(case.complaints)}" if case.complaints else ""
    legacy = "; iptables-legacy has rules there, which are not read" if case.facts.legacy else ""
    if case.gap.where == "not taken" and not said:
        words = "every packet was seen on its way there and back this time: it is lost now and then, or too late"
        return Cause(case.gap.at, words + legacy, (), "run the check again", sure=False)
    words = f"it ends in {case.facts.place}, and nothing that was looked at says why{said}{legacy}"
    shown = command_at(case.facts, "nstat", "-az")
    advice = "see which of the kernel's counters of drops grows while you ping"
    return Cause(case.facts.place, words, shown, advice, sure=False)


FINDERS: dict[str, tuple[Finder, ...]] = {
    "not sent": (device_down, no_route, no_carrier, no_neighbour, dropped),
    "unanswered": (
        *(wrong_mac, not_masqueraded, no_address, arrival_refused, device_down, no_route, no_neighbour),
        *(ignores_echo, dropped),
    ),
    "inside": (
        *(wrong_mac, forwarding_off, default_only, arrival_refused, no_route, no_carrier, too_large, dropped),
        no_neighbour,
    ),
    "between": (not_masqueraded, default_only, small_underlay, other_mac_beyond, no_neighbour, underlay),
    "not unwrapped": (cannot_unwrap,),
    "not wrapped": (no_neighbour, cannot_wrap),
    "not taken": (wrong_mac, dropped),
}
