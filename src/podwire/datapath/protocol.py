# SPDX-License-Identifier: Apache-2.0
"""What a datapath must answer: how the pods of a network are connected to their node.

A new mode is one file with a subclass of `Datapath` and one entry in `modes.DATAPATHS`. It is no `typing.Protocol`:
a process for one call does not load `typing` (ADR 8).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from podwire.cni.result import ResultInterface
from podwire.datapath.gateway import Gateway
from podwire.ip import Address, Interface, with_prefix
from podwire.ipam.ranges import PodAddress
from podwire.netlink.operations import Operation
from podwire.netlink.read import Link
from podwire.netlink.socket import Netlink
from podwire.record import Record

DEFAULT_MTU = 1500


class Datapath(Record):
    """How pods are connected to their node. `mtu` is that of both ends of a veth; None leaves the kernel's default."""

    mtu: int | None = None

    supports_layer2 = False  # May a pod have an interface without any address?
    # Is the gateway needed by every pod? Then it is on the host and has a default route whatever the configuration.
    requires_gateway = False
    gateway_is_onlink = False  # Does the pod reach its gateway although no subnet of the interface contains it?

    @property
    def pod_mtu(self) -> int:
        return self.mtu or DEFAULT_MTU

    @property
    def gateway_device(self) -> str:
        """The host's device that has the gateway addresses."""
        raise NotImplementedError

    @property
    def veth_master(self) -> str | None:
        """The bridge that the host's end of a veth is a port of."""
        return None

    def interface_address(self, address: PodAddress) -> Interface:
        """A pod's address with the prefix length that the pod's interface has."""
        return with_prefix(address.ip, self.prefix(address.ip, address.prefix))

    def prefix(self, address: Address, subnet_prefix: int) -> int:
        """The prefix length of an address of a pod or of its gateway, whose subnet has `subnet_prefix`."""
        raise NotImplementedError

    def gateway(self, gateways: Iterable[tuple[Address, int]], *, is_gateway: bool) -> Gateway:
        """The desired gateway device for gateway addresses and the prefix lengths of their subnets.

        With `is_gateway=False` the configuration wants no gateway addresses on the host.
        """
        found = dict.fromkeys(with_prefix(address, self.prefix(address, prefix)) for address, prefix in gateways)
        addresses = tuple(found) if is_gateway or self.requires_gateway else ()
        families = tuple(sorted({address.version for address in addresses}))
        return Gateway(self.gateway_device, addresses, families)

    def host_operations(
        self, device: str, addresses: Sequence[PodAddress], pod_mac: str, *, has_host_ports: bool
    ) -> list[Operation]:
        """What the host's end of a veth gets after its leases are reserved."""
        raise NotImplementedError

    def pod_operations(self, ifname: str, gateways: Mapping[int, Address], host_mac: str) -> list[Operation]:
        """What the pod's interface gets between its addresses and its routes; `gateways` by IP version."""
        return []

    def result_interfaces(self, gateway_mac: str) -> list[ResultInterface]:
        """The host's interfaces that the result of ADD lists before the veth."""
        return []

    def difference(self, socket: Netlink, link: Link, addresses: Sequence[Address]) -> str:
        """CHECK: the first difference on the host for a pod's veth and addresses; "" if there is none."""
        raise NotImplementedError
