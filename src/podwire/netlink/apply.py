"""Carries out operations, batch by batch, and says which command the kernel refused."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence

from podwire.netlink.operations import AddAddress, AddAltname, AddBridge, AddNeighbour, AddRoute, Operation, describe
from podwire.netlink.rtnl import encode
from podwire.netlink.socket import Netlink, NetlinkError


class KernelRefusedError(Exception):
    """The kernel refused an operation: `operation`, `number` (errno) and one line for people."""

    def __init__(self, operation: Operation, refused: NetlinkError, *, pod: bool = False) -> None:
        command = describe(operation, pod=pod)
        super().__init__(f"the kernel refused `{command}`: {refused.strerror}")
        self.operation = operation
        self.number = refused.errno


LOOPBACK_INDEX = 1
"""The first device of every network namespace (net/core/dev.c)."""


class Indexes:
    """Device indexes by name, each asked for once; `known` ones never."""

    def __init__(self, socket: Netlink, known: Mapping[str, int] | None = None) -> None:
        self._socket = socket
        self._known = {"lo": LOOPBACK_INDEX, **(known or {})}

    def __call__(self, name: str) -> int:
        index = self._known.get(name)
        if index is None:
            index = self._known[name] = self._socket.index(name)
        return index


Excuse = Callable[[Operation, NetlinkError], bool]
"""Says which refusals do not matter to the caller."""


def apply(
    socket: Netlink,
    operations: Sequence[Operation],
    index_of: Indexes | None = None,
    *,
    pod_netns: int = -1,
    pod: bool = False,
    excused: Excuse | None = None,
) -> list[Operation]:
    """Send operations as one batch; raises KernelRefusedError for the first refusal that matters.

    All operations are tried, also behind a refusal. Operations in one batch may not refer to a device that the
    same batch creates. Returns what `judge` does.
    """
    if not operations:
        return []
    indexes = index_of or Indexes(socket)
    requests = []
    for operation in operations:
        try:
            requests.append(encode(operation, indexes, pod_netns))
        except NetlinkError as refused:
            raise KernelRefusedError(operation, refused, pod=pod) from None
    return judge(operations, socket.batch(requests), pod=pod, excused=excused)


def judge(
    operations: Sequence[Operation],
    refusals: Iterable[NetlinkError],
    *,
    pod: bool = False,
    excused: Excuse | None = None,
) -> list[Operation]:
    """What refusals of operations mean: raises KernelRefusedError for the first that matters.

    What is there already (EEXIST) does not matter for routes that may exist, and for altnames: those altnames
    are returned, since a taken name is an answer.
    """
    taken: list[Operation] = []
    for refusal in refusals:
        operation = operations[refusal.place]
        exists = refusal.errno == errno.EEXIST
        if exists and isinstance(operation, AddAltname):
            taken.append(operation)
        elif exists and isinstance(operation, AddRoute) and operation.may_exist:
            continue
        elif not (excused and excused(operation, refusal)):
            raise KernelRefusedError(operation, refusal, pod=pod)
    return taken


def apply_each(socket: Netlink, operations: Sequence[Operation]) -> None:
    """Carry out operations one after the other; those whose object exists meanwhile are done.

    For objects that several processes may be making at once, such as the host's bridge.
    """
    for operation in operations:
        try:
            apply(socket, [operation])
        except KernelRefusedError as refused:
            made_elsewhere = isinstance(operation, AddBridge | AddAddress | AddRoute | AddNeighbour)
            if refused.number != errno.EEXIST or not made_elsewhere:
                raise
