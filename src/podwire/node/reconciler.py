# SPDX-License-Identifier: Apache-2.0
"""What keeps one thing of the host in its desired state: the interface of a reconciler, and the changes it returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from podwire.netlink import operations as op
from podwire.netlink.operations import Operation, describe
from podwire.node.desired import DesiredState
from podwire.node.settings import SettingsChange

TICK, NFTABLES_CHANGED, RESTORED = -1, -2, -3
"""Kinds of events beside rtnetlink's message types: the clock's, a changed ruleset, something that was restored."""


class Event(Struct, frozen=True):
    """Something that may matter to a reconciler.

    `kind` is an rtnetlink message type with the key that `Watch.route_events` gives, or one of TICK (each second, for
    what the kernel does not announce), NFTABLES_CHANGED, and RESTORED with the name of the reconciler as key.
    """

    kind: int
    key: bytes = b""


Effect = Callable[[], Sequence[str] | None]
"""Applies a change. Returns the commands that it equals, where these are known only then; None else."""


class Change(Struct, frozen=True):
    """One difference between the desired and the actual state: what it is about, its command, and how it is applied.

    `kind` is a label of the metrics: link, address, route, neighbour, fdb, nft, sysctl or file. An `operation` is
    applied by the loop in batches; `effect` applies anything else and raises an exception if it cannot. A `note` is
    logged as it is: the change restores nothing, it is made for the first time.
    """

    kind: str
    text: str = ""
    effect: Effect | None = None
    operation: Operation | None = None
    note: str = ""

    @property
    def command(self) -> str:
        """The command that the change equals."""
        return describe(self.operation) if self.operation is not None else self.text


KINDS: dict[type, str] = {
    op.AddAddress: "address",
    op.AddRoute: "route",
    op.DeleteRoute: "route",
    op.AddNeighbour: "neighbour",
    op.DeleteNeighbour: "neighbour",
    op.AddForwarding: "fdb",
    op.DeleteForwarding: "fdb",
}
"""All other operations are about links."""


def change_of(operation: Operation, effect: Effect | None = None) -> Change:
    """A change that is one netlink operation; `effect` applies it, without one it is applied in a batch."""
    kind = KINDS.get(type(operation), "link")
    return Change(kind, describe(operation), effect) if effect else Change(kind, operation=operation)


class Reconciler:
    """Keeps one kind of thing. The loop's thread calls all methods; whatever they raise, the loop goes on.

    A new kind of kept thing is a subclass in a module of `reconcilers/` and its entry in `RECONCILERS` there. It
    neither applies, logs nor counts anything: the loop does. `name` is for the log, the metrics and `podwire status`.
    """

    name = ""
    needed_by_pods = False
    """No pod can be started while it fails: the agent is not ready then."""

    events: Collection[int] = ()
    """The kinds of events after which `differences` is called."""

    follows_settings = False
    """Does what is desired here follow from the settings of this node?"""

    def __init__(self, desired: DesiredState) -> None:
        self._desired = desired

    def concerned_by(self, event: Event) -> bool:
        """Should `differences` be called because of this event?"""
        return event.kind in self.events

    def desired_changed(self, change: SettingsChange) -> bool:
        """Does a change of the settings change what is desired here? The new desired state is in force already."""
        return self.follows_settings and change.settings is not None

    def differences(self, *, full: bool) -> Sequence[Change]:
        """The changes from the actual to the desired state, in the order in which they are to be applied.

        With `full`, everything is read back; else what the events and settings since the last call concern is enough.
        Raises whatever reading raises: the loop calls again later, with `full`.
        """
        raise NotImplementedError

    def problems(self) -> Sequence[str]:
        """What cannot be reached or done now although nothing failed, such as a peer without a path."""
        return ()
