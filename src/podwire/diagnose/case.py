"""One loss with all that is known of it, and the shape of its explanation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from podwire.diagnose.captured import Gap
from podwire.diagnose.facts import Facts
from podwire.diagnose.packets import Packet
from podwire.diagnose.plan import Probe


class Cause(Struct, frozen=True):
    """Why, the command that shows it, and what to do next. `at` is the place to mend."""

    at: str
    words: str
    command: tuple[str, ...] = ()
    advice: str = ""
    sure: bool = True


class Case(Struct, frozen=True):
    """All that is known of one loss: `facts` of the gap's place, `before` and `after` those of its neighbours.

    `to_pod`: what is lost was on its way to a pod, so hosts need a route of their own for it. `too_large`: its size in
    bytes if small packets pass. `bare_at`: the host that let it out of the cluster with the pod's own address.
    """

    probe: Probe
    gap: Gap
    facts: Facts
    before: Facts | None = None
    after: Facts | None = None
    to_pod: bool = False
    too_large: int = 0
    bare_at: Facts | None = None
    complaints: Sequence[str] = ()

    @property
    def packet(self) -> Packet | None:
        return self.gap.packet

    @property
    def to(self) -> str:
        """Where the lost packet was going; where it was the answer that never was, where that had to go."""
        if self.packet is not None:
            answer = self.gap.where == "unanswered"
            return str(self.packet.source if answer else self.packet.destination)
        return str(self.probe.address)


def hop_words(gap: Gap) -> str:
    """Where it was lost: "between node-1 and node-2", "in node-1"."""
    answer = "on the way back, " if gap.way == "back" and gap.where not in ("unanswered", "not taken") else ""
    if gap.where == "between":
        return f"{answer}between {gap.at} and {gap.next}"
    return f"{answer}in {gap.at}"


def command_at(facts: Facts, *words: str) -> tuple[str, ...]:
    return (*facts.prefix, *words)


def wire_again(facts: Facts) -> str:
    """How what podwire made comes back."""
    if facts.kind == "pod":
        return f"delete the pod {facts.place}: its successor is wired anew"
    return f"start the podwire agent on {facts.place}: it brings routes, devices and rules back"
