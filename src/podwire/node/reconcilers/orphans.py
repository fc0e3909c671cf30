# SPDX-License-Identifier: Apache-2.0
"""Removes the egress devices of pods whose own device is gone without a DEL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from podwire.attachments.identity import DEVICE_LETTERS, PREFIX, egress_device
from podwire.bandwidth import egress
from podwire.netlink.constants import RTM_DELLINK
from podwire.node.desired import DesiredState
from podwire.node.reconciler import Change, Event, Reconciler


class Orphans(Reconciler):
    """Egress devices without a pod."""

    name = "orphans"

    def __init__(self, desired: DesiredState) -> None:
        super().__init__(desired)
        self._deleted: set[str] = set()

    def concerned_by(self, event: Event) -> bool:
        """The deletion of a pod's device; its name is noted."""
        if event.kind != RTM_DELLINK or len(event.key) != DEVICE_LETTERS or not event.key.startswith(PREFIX.encode()):
            return False
        self._deleted.add(event.key.decode(errors="replace"))
        return True

    def differences(self, *, full: bool) -> Sequence[Change]:
        """The egress devices of deleted devices; with `full`, all egress devices without a pod's device."""
        socket = self._desired.host.socket
        if full:
            names = egress.orphans(socket)
        else:
            deleted = [device for device in self._deleted if not egress.exists(socket, device)]
            names = [name for name in map(egress_device, deleted) if egress.exists(socket, name)]
        self._deleted.clear()
        return [Change("link", f"ip link delete {name}", partial(self._delete, name)) for name in names]

    def _delete(self, name: str) -> Sequence[str]:
        return [f"ip link delete {name}"] if self._desired.host.delete(name) else []
