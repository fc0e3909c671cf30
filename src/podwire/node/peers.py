"""This node's paths to the pods of other nodes: computed from the settings, brought about, read back, mended."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from msgspec.structs import replace

from podwire.datapath import peer_routes_read as actual
from podwire.datapath.peer_routes import Paths, Underlay, changes, desired_paths, exchange
from podwire.ip import Network
from podwire.netlink.apply import KernelRefusedError, apply
from podwire.netlink.constants import RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELROUTE, RTM_NEWADDR
from podwire.netlink.host import Host
from podwire.netlink.monitor import index_of_key, route_key
from podwire.netlink.operations import (
    AddVxlan,
    DeleteForwarding,
    DeleteLink,
    DeleteNeighbour,
    DeleteRoute,
    Operation,
    SetAlias,
    SetUp,
    describe,
)
from podwire.netlink.socket import NetlinkError
from podwire.node.old_settings import Settings, same_but_peers
from podwire.observe.log import AgentLog

BATCH = 200
INDEX_BYTES = 4
SHOWN_CHANGES = 20
OnDevices = AddVxlan | DeleteLink | SetAlias | SetUp
Deletion = DeleteLink | DeleteRoute | DeleteNeighbour | DeleteForwarding


class NodePaths:
    """The paths of one node. One thread at a time."""

    def __init__(self, host: Host, log: AgentLog) -> None:
        self._host = host
        self._log = log
        self._routes: set[bytes] = set()
        self._entries: set[bytes] = set()
        self._devices: set[bytes] = set()
        self._seen: list[Underlay] = []
        self.settings: Settings | None = None
        self.wanted = Paths()
        self.underlays: list[Underlay] = []

    def take(self, settings: Settings) -> int:
        """New settings: apply what is different from the last ones; how many changes."""
        before, self.settings = self.settings, settings
        if before is None or self._seen != self.underlays or not same_but_peers(before, settings):
            self._seen = self.underlays
            gone, self.wanted = self.wanted, desired_paths(settings, self.underlays)
            come = self.wanted
            operations = changes(gone, come)
        else:
            gone = desired_paths(_only(before, settings), self.underlays)
            come = desired_paths(_only(settings, before), self.underlays)
            operations = exchange(self.wanted, gone, come)
        self._routes -= {_key(one) for one in gone.routes}
        self._routes |= {_key(one) for one in come.routes}
        self._entries -= _entries(gone)
        self._entries |= _entries(come)
        self._devices = {name.encode() for name in self.wanted.devices}
        for problem in come.problems:
            self._log.failed("node", problem, once=True)
        return self._apply(operations)

    def read_underlays(self) -> bool:
        """Read the host's own addresses anew; have they changed?"""
        before, self.underlays = self.underlays, actual.read_underlays(self._host.socket)
        return before != self.underlays

    def concerns(self, kind: int, key: bytes) -> bool:
        """Does a notification of the kernel (`Watch.route_events`) tell of something that the paths need?"""
        if kind == RTM_DELROUTE:
            return key in self._routes
        if kind == RTM_DELLINK:
            return key in self._devices
        if kind == RTM_DELNEIGH:
            return key[INDEX_BYTES:] in self._entries and index_of_key(key) in self._indexes()
        return kind in (RTM_NEWADDR, RTM_DELADDR)

    def _indexes(self) -> set[int]:
        found = set()
        for name in self.wanted.devices:
            with contextlib.suppress(NetlinkError):
                found.add(self._host.socket.index(name))
        return found

    def device_is_down(self) -> bool:
        """Is a VXLAN device missing or down? The kernel drops its routes then, and announces nothing."""
        return any(actual.read_vxlan(self._host.socket, name, {}) is None for name in self.wanted.devices)

    def look(self) -> None:
        """Read everything back, compare, mend; each change is a line in the log. Raises NetlinkError."""
        if self.settings is None:
            return
        if self.read_underlays():
            self.take(self.settings)
        operations = changes(actual.read_paths(self._host.socket), self.wanted)
        self._apply(operations)
        for place, one in enumerate(operations):
            self._log.restored(describe(one), quietly=place >= SHOWN_CHANGES)
        if len(operations) > SHOWN_CHANGES:
            self._log.note(f"restored: {len(operations) - SHOWN_CHANGES} more")

    def _apply(self, operations: Sequence[Operation]) -> int:
        """Carry out operations in their order: on devices one by one, the many others in batches; how many."""
        many: list[Operation] = []
        for one in operations:
            if isinstance(one, OnDevices):
                self._apply_batch(many)
                many = []
                self._apply_one(one)
            else:
                many.append(one)
        self._apply_batch(many)
        return len(operations)

    def _apply_batch(self, operations: Sequence[Operation]) -> None:
        for start in range(0, len(operations), BATCH):
            some = operations[start : start + BATCH]
            try:
                apply(self._host.socket, some)
            except KernelRefusedError:
                for one in some:
                    self._apply_one(one)

    def _apply_one(self, one: Operation) -> None:
        """One operation by itself: what is gone need not be deleted, and one refusal does not stop the others."""
        try:
            apply(self._host.socket, [one])
        except KernelRefusedError as refused:
            if not isinstance(one, Deletion):
                self._log.failed("node", str(refused), once=True)


def _only(settings: Settings, other: Settings) -> Settings:
    """The settings with those peers alone that are not the same in `other`."""
    peers = other.peers
    return replace(settings, peers={name: one for name, one in settings.peers.items() if peers.get(name) is not one})


def _key(network: Network) -> bytes:
    return route_key(network.network_address.packed, network.prefixlen)


def _entries(paths: Paths) -> set[bytes]:
    """The neighbours' addresses and the forwarding entries' MACs, as notifications tell of them."""
    macs = {bytes.fromhex(mac.replace(":", "")) for _, mac in paths.forwarding}
    return macs | {address.packed for _, address in paths.neighbours}
