# SPDX-License-Identifier: Apache-2.0
"""Carries out operations in batches; an error names the command that the kernel refused."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping, Sequence

from podwire.netlink.operations import AddAddress, AddAltname, AddBridge, AddNeighbour, AddRoute, Operation, describe
from podwire.netlink.rtnl import encode
from podwire.netlink.socket import Netlink, NetlinkError


class KernelRefusedError(Exception):
    """The kernel refused an operation: `operation`, `number` (errno); the message names the command, in one line."""

    def __init__(self, operation: Operation, refused: NetlinkError, *, pod: bool = False) -> None:
        super().__init__(f"the kernel refused `{describe(operation, pod=pod)}`: {refused.strerror}")
        self.operation = operation
        self.number = refused.errno


LOOPBACK_INDEX = 1  # the first device of every network namespace (net/core/dev.c)
Ignore = Callable[[Operation, NetlinkError], bool]
"""Does the caller ignore this error of this operation?"""


class Indexes:
    """Device indexes by name: each is read once, `known` ones never."""

    def __init__(self, socket: Netlink, known: Mapping[str, int] | None = None) -> None:
        self._socket = socket
        self._known = {"lo": LOOPBACK_INDEX, **(known or {})}

    def __call__(self, name: str) -> int:
        index = self._known.get(name)
        if index is None:
            index = self._known[name] = self._socket.index(name)
        return index


def apply(
    socket: Netlink,
    operations: Sequence[Operation],
    index_of: Indexes | None = None,
    *,
    pod_netns: int = -1,
    pod: bool = False,
    ignore: Ignore | None = None,
) -> list[Operation]:
    """Send operations as one batch; raises KernelRefusedError for the first error that is not ignored.

    The kernel tries all operations, also after an error. An operation must not refer to a device that the same batch
    creates. Returns the altnames that are taken, as `check` does.
    """
    if not operations:
        return []
    indexes = index_of or Indexes(socket)
    requests = []
    try:
        for operation in operations:
            requests.append(encode(operation, indexes, pod_netns))
    except NetlinkError as refused:
        raise KernelRefusedError(operation, refused, pod=pod) from None
    return check(operations, socket.batch(requests), pod=pod, ignore=ignore)


def check(
    operations: Sequence[Operation], errors: Iterable[NetlinkError], *, pod: bool = False, ignore: Ignore | None = None
) -> list[Operation]:
    """Raise KernelRefusedError for the first error of `operations` that is not ignored.

    EEXIST is no error for routes that may exist, and for altnames: the operations whose altname is taken are returned.
    """
    taken: list[Operation] = []
    for error in errors:
        operation = operations[error.position]
        exists = error.errno == errno.EEXIST
        if exists and isinstance(operation, AddAltname):
            taken.append(operation)
        elif exists and isinstance(operation, AddRoute) and operation.may_exist:
            continue
        elif not (ignore and ignore(operation, error)):
            raise KernelRefusedError(operation, error, pod=pod)
    return taken


def apply_each(socket: Netlink, operations: Sequence[Operation]) -> None:
    """Carry out operations one after the other; an object that another process has created is no error."""
    for operation in operations:
        try:
            apply(socket, [operation])
        except KernelRefusedError as refused:
            created_elsewhere = isinstance(operation, AddBridge | AddAddress | AddRoute | AddNeighbour)
            if refused.number != errno.EEXIST or not created_elsewhere:
                raise
