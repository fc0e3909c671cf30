# SPDX-License-Identifier: Apache-2.0
"""Reaches a peer over VXLAN (RFC 7348) without learning: all entries follow from the nodes' addresses."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.datapath.peer import LocalNode, PeerRoutes
from podwire.digest import blake2b
from podwire.ip import Address, Network
from podwire.netlink import operations as op

VXLAN_DEVICE = {4: "podwire-vx4", 6: "podwire-vx6"}  # the device by the IP version of the nodes' addresses
# What VXLAN adds to a packet: the outer IP header, UDP (8), VXLAN (8) and the inner Ethernet header (14).
OVERHEAD_BYTES = {4: 50, 6: 70}
MIN_MTU = 1280


def add_vxlan(
    routes: PeerRoutes, node: LocalNode, peer: str, addresses: Sequence[Address], destination: Network
) -> str:
    """A route through the peer's gateway address, whose MAC is that of the peer's VTEP. See `peers.AddPath`.

    ip route replace DESTINATION via GATEWAY dev podwire-vx4 onlink src OWN proto 112
    ip neigh replace GATEWAY lladdr MAC dev podwire-vx4 nud permanent
    bridge fdb replace MAC dev podwire-vx4 dst NODE self permanent
    """
    own = {address.version: address for address in node.addresses}
    common = sorted((address for address in addresses if address.version in own), key=lambda found: found.version)
    if not common:
        return f"peer {peer} has no address of a family that this node has: {destination} is not reachable"
    remote = common[0]
    local, device = own[remote.version], VXLAN_DEVICE[remote.version]
    if device not in routes.devices:
        vxlan = _device(node, device, local)
        if vxlan is None:
            return f"address {local} of this node is on none of its devices: correct addresses"
        routes.devices[device] = vxlan
    gateway = destination[1] if destination.num_addresses > 2 else destination[0]
    mac, source = vtep_mac(remote), _source(node, destination.version)
    routes.add(peer, op.AddRoute(device, destination, gateway, onlink=True, source=source, replace=True))
    routes.neighbours[device, gateway] = op.AddNeighbour(device, gateway, mac)
    routes.forwarding[device, mac] = op.AddForwarding(device, mac, remote)
    return ""


def _device(node: LocalNode, name: str, local: Address) -> op.AddVxlan | None:
    """The VXLAN device over the device that has `local`; None if none has it."""
    under = next((underlay for underlay in node.underlay if underlay.address.ip == local), None)
    if under is None:
        return None
    mtu = max(under.mtu - OVERHEAD_BYTES[local.version], MIN_MTU)
    return op.AddVxlan(name, vtep_mac(local), node.vni, node.port, local, under.device, mtu)


def _source(node: LocalNode, family: int) -> Address | None:
    """The source of the host's own packets into the tunnel: its gateway, to which the peer has a route."""
    return next((cidr[1] for cidr in node.pod_cidrs if cidr.version == family and cidr.num_addresses > 2), None)


def vtep_mac(node: Address) -> str:
    """The MAC of a node's VXLAN device, from the node's address, so that it need not be published."""
    raw = bytearray(blake2b(b"podwire vtep " + node.packed, digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
