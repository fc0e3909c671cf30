# SPDX-License-Identifier: Apache-2.0
"""Mode `bridge`: pods are ports of one bridge, which has the gateway addresses with their subnets' prefix lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from podwire.cni.result import ResultInterface
from podwire.datapath.gateway import Gateway
from podwire.datapath.protocol import Datapath
from podwire.ip import Address
from podwire.ipam.ranges import PodAddress
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.socket import Netlink


class Bridge(Datapath):
    """Pods are ports of `bridge`. `hairpin`: a port sends packets back to the pod that they came from."""

    bridge: str = "cni0"
    hairpin: bool = False
    promiscuous: bool = False

    supports_layer2 = True

    @property
    def gateway_device(self) -> str:
        return self.bridge

    @property
    def veth_master(self) -> str | None:
        return self.bridge

    def prefix(self, address: Address, subnet_prefix: int) -> int:
        return subnet_prefix

    def gateway(self, gateways: Iterable[tuple[Address, int]], *, is_gateway: bool) -> Gateway:
        found = super().gateway(gateways, is_gateway=is_gateway)
        return Gateway(found.device, found.addresses, found.families, self.mtu, self.promiscuous)

    def host_operations(
        self, device: str, addresses: Sequence[PodAddress], pod_mac: str, *, has_host_ports: bool
    ) -> list[op.Operation]:
        # With br_netfilter, a packet of a pod to a host port of its own goes back to the port that it came from.
        return [op.SetHairpin(device)] if self.hairpin or has_host_ports else []

    def result_interfaces(self, gateway_mac: str) -> list[ResultInterface]:
        return [ResultInterface(self.bridge, gateway_mac)]

    def difference(self, socket: Netlink, link: read.Link, addresses: Sequence[Address]) -> str:
        bridge = read.link(socket, self.bridge)
        if bridge is None or link.master != bridge.index:
            return f"the host's device {link.name} is not a port of bridge {self.bridge}"
        return ""
