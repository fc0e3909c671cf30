# SPDX-License-Identifier: Apache-2.0
"""Applies the changes of a reconciler: netlink operations in batches, everything else one by one."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from msgspec import Struct, field

from podwire.netlink import operations as op
from podwire.netlink.apply import KernelRefusedError, apply
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.node.reconciler import Change

BATCH_OPERATIONS = 200
ON_DEVICES = (op.AddVxlan, op.DeleteLink, op.SetAlias, op.SetUp)
"""Operations that others in the same batch may depend on, so each is a batch of its own."""

DELETIONS = (op.DeleteLink, op.DeleteRoute, op.DeleteNeighbour, op.DeleteForwarding)
GONE = (errno.ENODEV, errno.ESRCH, errno.ENOENT, errno.EADDRNOTAVAIL)


class Outcome(Struct):
    """The changes that were applied, and an error for each that was not."""

    applied: list[Change] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


def apply_changes(socket: Netlink, changes: Sequence[Change]) -> Outcome:
    """Apply changes in their order. One that fails does not stop the others; to delete what is gone is no error."""
    outcome = Outcome()
    batch: list[Change] = []
    for change in changes:
        if change.operation is not None and not isinstance(change.operation, ON_DEVICES):
            batch.append(change)
            if len(batch) < BATCH_OPERATIONS:
                continue
        _apply_batch(socket, batch, outcome)
        batch = []
        if change.operation is None:
            _apply_effect(change, outcome)
        elif isinstance(change.operation, ON_DEVICES):
            _apply_batch(socket, [change], outcome)
    _apply_batch(socket, batch, outcome)
    return outcome


def _apply_batch(socket: Netlink, changes: Sequence[Change], outcome: Outcome) -> None:
    operations = [change.operation for change in changes if change.operation is not None]
    refused: dict[int, KernelRefusedError] = {}

    def note(operation: op.Operation, refusal: NetlinkError) -> bool:
        refused[id(operation)] = KernelRefusedError(operation, refusal)
        return True

    try:
        apply(socket, operations, ignore=note)
    except KernelRefusedError as nothing_sent:  # a device is missing
        if len(changes) > 1:
            for change in changes:
                _apply_batch(socket, [change], outcome)
            return
        refused[id(operations[0])] = nothing_sent
    for change in changes:
        error = refused.get(id(change.operation))
        if error is None:
            outcome.applied.append(change)
        elif not (isinstance(change.operation, DELETIONS) and error.number in GONE):
            outcome.errors.append(error)


def _apply_effect(change: Change, outcome: Outcome) -> None:
    assert change.effect is not None
    try:
        commands = change.effect()
    except Exception as failed:  # noqa: BLE001  one change that fails must not stop the others
        outcome.errors.append(failed)
    else:
        outcome.applied += [change] if commands is None else [Change(change.kind, command) for command in commands]
