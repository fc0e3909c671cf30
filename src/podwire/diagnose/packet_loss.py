# SPDX-License-Identifier: Apache-2.0
"""A lost packet with all that is known about it, and the cause that explains the loss. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.diagnose.drop_point import DropPoint
from podwire.diagnose.network_state import NetworkState
from podwire.diagnose.packets import Packet
from podwire.diagnose.plan import Probe
from podwire.record import Record


class Cause(Record):
    """Why a packet was lost, a command that shows it, and the next step. `at` is the endpoint to repair."""

    at: str
    words: str
    command: tuple[str, ...] = ()
    advice: str = ""
    sure: bool = True


class PacketLoss(Record):
    """A lost packet: `state` is that of the endpoint where it was dropped, `before` and `after` of its neighbours.

    `to_pod`: the packet's destination is a pod, so each host needs a route for it. `too_large`: its size in bytes if
    only large packets are lost. `not_masqueraded_by`: the host that sent it out of the cluster with the pod's address.
    """

    probe: Probe
    drop: DropPoint
    state: NetworkState
    before: NetworkState | None = None
    after: NetworkState | None = None
    to_pod: bool = False
    too_large: int = 0
    not_masqueraded_by: NetworkState | None = None
    icmp_errors: Sequence[str] = ()

    @property
    def packet(self) -> Packet | None:
        return self.drop.packet

    @property
    def next_hop(self) -> str:
        return self.state.route.gateway or self.to

    @property
    def to(self) -> str:
        """The lost packet's destination; for a request without a reply the destination of the reply."""
        if self.packet is not None:
            reply = self.drop.kind == "unanswered"
            return str(self.packet.source if reply else self.packet.destination)
        return str(self.probe.address)


def hop_text(drop: DropPoint) -> str:
    """The hop in words: "between node-1 and node-2", "in node-1"."""
    is_reply = drop.direction == "reply" and drop.kind not in ("unanswered", "not received")
    prefix = "on the way back, " if is_reply else ""
    return prefix + (f"between {drop.at} and {drop.next}" if drop.kind == "between" else f"in {drop.at}")


def command_at(state: NetworkState, *words: str) -> tuple[str, ...]:
    """A command line that runs in an endpoint's namespace."""
    return (*state.prefix, *words)


def cause_at(state: NetworkState, words: str, command: str, advice: str, sure: bool = True) -> Cause:
    """A cause to repair at an endpoint; `command` shows it there."""
    return Cause(state.endpoint, words, command_at(state, *command.split()), advice, sure)


def restore_advice(state: NetworkState) -> str:
    """How routes, devices and rules of podwire are restored at an endpoint."""
    if state.kind == "pod":
        return f"delete the pod {state.endpoint}: the pod that replaces it gets a new interface"
    return f"start the podwire agent on {state.endpoint}: it restores routes, devices and rules"
