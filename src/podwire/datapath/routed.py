# SPDX-License-Identifier: Apache-2.0
"""Mode `routed`: every pod has its own host route; the gateway addresses are on a device without ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwire.datapath.protocol import Datapath
from podwire.ip import Address, single_address
from podwire.ipam.ranges import PodAddress
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.socket import Netlink

GATEWAY_DEVICE = "podwire0"


class Routed(Datapath):
    """Pods and host are connected point to point; addresses have the prefix length /32 or /128."""

    requires_gateway = True
    gateway_is_onlink = True

    @property
    def gateway_device(self) -> str:
        return GATEWAY_DEVICE

    def prefix(self, address: Address, subnet_prefix: int) -> int:
        return address.max_prefixlen

    def host_operations(
        self, device: str, addresses: Sequence[PodAddress], pod_mac: str, *, has_host_ports: bool
    ) -> list[op.Operation]:
        """A host route and a permanent neighbour for every address. The kernel deletes them with the device."""
        operations: list[op.Operation] = []
        for address in addresses:
            operations.append(op.AddRoute(device, single_address(address.ip), link_scope=True))
            operations.append(op.AddNeighbour(device, address.ip, pod_mac))
        return operations

    def pod_operations(self, ifname: str, gateways: Mapping[int, Address], host_mac: str) -> list[op.Operation]:
        """A link route and a permanent neighbour for every gateway."""
        operations: list[op.Operation] = []
        for gateway in gateways.values():
            operations.append(op.AddRoute(ifname, single_address(gateway), link_scope=True, may_exist=True))
            operations.append(op.AddNeighbour(ifname, gateway, host_mac))
        return operations

    def difference(self, socket: Netlink, link: read.Link, addresses: Sequence[Address]) -> str:
        routes = [*read.routes(socket, 4), *read.routes(socket, 6)]
        present = {route.destination.network_address for route in routes if route.device == link.index}
        missing = next((address for address in addresses if address not in present), None)
        return "" if missing is None else f"the host's route to {missing} is missing"
