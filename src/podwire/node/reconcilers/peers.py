# SPDX-License-Identifier: Apache-2.0
"""Keeps this node's routes to the pods of its peers: direct routes, VXLAN devices, their neighbours and entries."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from podwire.datapath.peer import LocalNode, UnderlayAddress
from podwire.datapath.peers import changes, desired_routes, exchange, is_up, read_peer_routes, read_underlay
from podwire.ip import Network
from podwire.netlink.constants import RTM_DELADDR, RTM_DELLINK, RTM_DELNEIGH, RTM_DELROUTE, RTM_NEWADDR
from podwire.netlink.monitor import index_of_key
from podwire.netlink.operations import Operation
from podwire.netlink.socket import NetlinkError
from podwire.node.desired import DesiredState
from podwire.node.reconciler import RESTORED, TICK, Change, Event, Reconciler, change_of
from podwire.node.settings import NodeSettings, SettingsChange

INDEX_BYTES = 4
MAC_BYTES = 6
ADDRESS_BYTES = (4, 16)


class Peers(Reconciler):
    """The routes to all peers. A changed peer costs the work for that peer, however many others there are."""

    name = "peers"

    def __init__(self, desired: DesiredState) -> None:
        super().__init__(desired)
        self._underlay: list[UnderlayAddress] = []
        self._changed: set[str] = set()
        self._all_changed = True
        self._touched = True  # what an earlier agent left is read first

    def concerned_by(self, event: Event) -> bool:
        """A deleted route, device or entry that is desired, changed addresses, a restored gateway device.

        Of a VXLAN device that goes down, the kernel drops the routes and announces nothing: it is read each second.
        """
        if self._desired.settings is None:
            return False
        self._touched = self._touched or self._is_desired(event)
        return self._touched

    def _is_desired(self, event: Event) -> bool:
        kind, key, routes = event.kind, event.key, self._desired.peer_routes
        if kind == RTM_DELROUTE:
            return _network(key) in routes.routes
        if kind == RTM_DELNEIGH:
            return self._is_desired_neighbour(key)
        if kind == RTM_DELLINK:
            return key.decode(errors="replace") in routes.devices
        if kind == TICK:
            return not all(is_up(self._desired.host.socket, device) for device in routes.devices)
        return kind in (RTM_NEWADDR, RTM_DELADDR) or (kind == RESTORED and key == b"gateway")

    def _is_desired_neighbour(self, key: bytes) -> bool:
        packed, routes = key[INDEX_BYTES:], self._desired.peer_routes
        if len(packed) == MAC_BYTES:
            devices = [device for device in routes.devices if (device, packed.hex(":")) in routes.forwarding]
        elif len(packed) in ADDRESS_BYTES:
            address = ip_address(packed)
            devices = [device for device in routes.devices if (device, address) in routes.neighbours]
        else:
            return False
        for device in devices:
            with contextlib.suppress(NetlinkError):
                if self._desired.host.socket.index(device) == index_of_key(key):
                    return True
        return False

    def desired_changed(self, change: SettingsChange) -> bool:
        """Other peers, or anything else in the settings."""
        self._all_changed = self._all_changed or change.settings is not None or change.complete
        self._changed.update(change.upserted, change.removed)
        return self._all_changed or bool(self._changed)

    def differences(self, *, full: bool) -> Sequence[Change]:
        """After changed settings the changes between two desired states, else those from the actual state."""
        settings = self._desired.settings
        if settings is None:
            return ()
        operations = self._operations(settings, read=full or self._touched)
        self._touched = False
        return [*map(change_of, operations)]

    def _operations(self, settings: NodeSettings, *, read: bool) -> Sequence[Operation]:
        desired, socket = self._desired, self._desired.host.socket
        if read or self._all_changed:
            underlay = read_underlay(socket)
            self._all_changed = self._all_changed or underlay != self._underlay
            self._underlay = underlay
        tunnel, before = settings.tunnel, desired.peer_routes
        node = LocalNode(settings.addresses, settings.pod_cidrs, tunnel.vni, tunnel.port, self._underlay)
        operations: Sequence[Operation] = ()
        if self._all_changed:
            desired.peer_routes = desired_routes(node, tunnel.when, desired.peers.values())
            operations = () if read else changes(before, desired.peer_routes)
        elif self._changed:
            peers = [desired.peers[name] for name in self._changed if name in desired.peers]
            operations = exchange(before, self._changed, desired_routes(node, tunnel.when, peers))
        self._all_changed, self._changed = False, set()
        return changes(read_peer_routes(socket), desired.peer_routes) if read else operations

    def problems(self) -> Sequence[str]:
        """The pod CIDRs that cannot be reached."""
        return [problem for peer in list(self._desired.peer_routes.problems.values()) for problem in peer]


def _network(key: bytes) -> Network | None:
    """The destination in a route's key: the packed address, and the prefix length in the last byte."""
    return ip_network((key[:-1], key[-1])) if len(key) - 1 in ADDRESS_BYTES else None
