# SPDX-License-Identifier: Apache-2.0
"""Reaches a peer that is on-link by a route through the peer's own address."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.datapath.peer import LocalNode, PeerRoutes
from podwire.ip import Address, Network
from podwire.netlink import operations as op


def add_direct(
    routes: PeerRoutes, node: LocalNode, peer: str, addresses: Sequence[Address], destination: Network
) -> str:
    """A route through the peer's address; packets are not encapsulated. See `peers.AddPath`.

    ip route replace DESTINATION via ADDRESS dev DEVICE proto 112
    """
    found = _on_link(node, addresses, destination.version)
    if found is None:
        return f"peer {peer} is not on-link: {destination} is not reachable without a tunnel"
    address, device = found
    routes.add(peer, op.AddRoute(device, destination, address, replace=True))
    return ""


def _on_link(node: LocalNode, addresses: Sequence[Address], version: int) -> tuple[Address, str] | None:
    """The peer's address and this node's device that are in one subnet; the most specific subnet wins."""
    best: tuple[int, Address, str] | None = None
    for address in (address for address in addresses if address.version == version):
        for own in node.underlay:
            subnet = own.address.network
            on_link = subnet.prefixlen < own.address.max_prefixlen and address in subnet and address != own.address.ip
            if on_link and (best is None or subnet.prefixlen > best[0]):
                best = subnet.prefixlen, address, own.device
    return None if best is None else best[1:]
