# SPDX-License-Identifier: Apache-2.0
"""The wiring of one attachment: what was decided about it, as operations for the host and for the pod."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from podwire.attachments.identity import Attachment
from podwire.cni.document import Json
from podwire.cni.result import NOTHING, Result, ResultAddress, ResultInterface, ResultRoute
from podwire.datapath.protocol import Datapath
from podwire.ip import Address, Network
from podwire.ipam.ranges import PodAddress
from podwire.netlink import operations as op
from podwire.record import Record

ANYWHERE: dict[int, Network] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
LOOPBACK = "lo"
SMALLEST_IPV6_MTU = 1280
POD_INDEX_OFFSET = 0x10000000


class Wiring(Record):
    """One attachment with all that was decided about it.

    `index`: of the host's end; 0 lets the kernel choose. `alias`: of the host's end. `note`: the gateway device's; ""
    leaves it. `initial_mac`: the pod's MAC when the veth was created, if the first address that was tried gave it.
    """

    attachment: Attachment
    datapath: Datapath
    pod_mac: str
    sandbox: str
    addresses: Sequence[PodAddress] = ()
    routes: Sequence[ResultRoute] = ()
    index: int = 0
    alias: str = ""
    addrgenmode_none: bool = False
    note: str = ""
    initial_mac: str = ""
    has_host_ports: bool = False

    @property
    def device(self) -> str:
        return self.attachment.device

    @property
    def ifname(self) -> str:
        return self.attachment.ifname

    @property
    def pod_index(self) -> int:
        """The index of the pod's end. It differs from the host's: tools do not take two equal indexes for a pair."""
        return self.index + POD_INDEX_OFFSET if self.index else 0


def veth_operations(wiring: Wiring) -> list[op.Operation]:
    """Create the veth with one end on the host and the other in the pod; as a port of a bridge if there is one."""
    mtu, master = wiring.datapath.mtu, wiring.datapath.veth_master
    ends = wiring.device, wiring.attachment.host_mac, wiring.ifname, wiring.pod_mac
    return [op.AddVeth(*ends, mtu=mtu, master=master, index=wiring.index, peer_index=wiring.pod_index)]


def lease_operations(wiring: Wiring) -> list[op.Operation]:
    """The alias that identifies the attachment, its leases, then up: a device that is down notifies of no alias."""
    alias = op.SetAlias(wiring.device, wiring.alias, wiring.addrgenmode_none)
    leases = [op.AddAltname(wiring.device, str(address.ip)) for address in wiring.addresses]
    return [alias, *leases, op.SetUp(wiring.device)]


def host_operations(wiring: Wiring) -> list[op.Operation]:
    operations = wiring.datapath.host_operations(
        wiring.device, wiring.addresses, wiring.pod_mac, has_host_ports=wiring.has_host_ports
    )
    if wiring.note:
        operations.append(op.SetAlias(wiring.datapath.gateway_device, wiring.note))
    return operations


def all_host_operations(wiring: Wiring) -> list[op.Operation]:
    """All operations on the host as one batch; the wiring must have an index."""
    return veth_operations(wiring) + lease_operations(wiring) + host_operations(wiring)


def pod_operations(wiring: Wiring) -> list[op.Operation]:
    """What the pod gets: loopback up, interface up, addresses and routes."""
    ifname, datapath = wiring.ifname, wiring.datapath
    gateways = gateway_of_family(wiring.addresses)
    operations: list[op.Operation] = [op.SetUp(LOOPBACK)]
    if wiring.initial_mac not in ("", wiring.pod_mac):
        operations.append(op.SetMac(ifname, wiring.pod_mac))
    operations.append(op.SetUp(ifname))
    operations += [op.AddAddress(ifname, datapath.interface_address(address)) for address in wiring.addresses]
    operations += datapath.pod_operations(ifname, gateways, wiring.attachment.host_mac)
    operations += [_pod_route(wiring, route, gateways.get(route.destination.version)) for route in wiring.routes]
    return operations


def _pod_route(wiring: Wiring, route: ResultRoute, gateway: Address | None) -> op.AddRoute:
    via, numbers = route.gateway or gateway, route.numbers
    return op.AddRoute(
        wiring.ifname,
        route.destination,
        via,
        may_exist=True,
        mtu=numbers.get("mtu"),
        advmss=numbers.get("advmss"),
        metric=numbers.get("priority"),
        table=numbers.get("table"),
        scope=numbers.get("scope"),
        # A second interface finds the gateway's own route on the first. Other gateways must be reachable without.
        onlink=wiring.datapath.gateway_is_onlink and via is not None and via == gateway,
    )


def gateway_of_family(addresses: Sequence[PodAddress]) -> dict[int, Address]:
    found: dict[int, Address] = {}
    for address in addresses:
        if address.gateway is not None:
            found.setdefault(address.ip.version, address.gateway)
    return found


def wants_addrgenmode_none(datapath: Datapath, *, ipv6: bool) -> bool:
    """Must the host's end be kept from an IPv6 link-local address? `ipv6`: the kernel has IPv6."""
    return ipv6 and datapath.pod_mtu >= SMALLEST_IPV6_MTU


def configured_routes(
    routes: Sequence[ResultRoute] | None, addresses: Sequence[PodAddress], *, default: bool
) -> list[ResultRoute]:
    """The pod's routes where podwire leases its addresses: the configured ones; a default route if there are none.

    With `default` the configuration asks for the default route in any case.
    """
    found = list(routes or ())
    return found if routes is not None and not default else found + default_routes(addresses, found)


def default_routes(addresses: Sequence[PodAddress], present: Iterable[ResultRoute]) -> list[ResultRoute]:
    """A default route for every family that has a gateway and no default route among `present`."""
    destinations = {route.destination for route in present}
    return [
        ResultRoute(ANYWHERE[family], gateway)
        for family, gateway in sorted(gateway_of_family(addresses).items())
        if ANYWHERE[family] not in destinations
    ]


def needs_ipv6(operation: op.Operation) -> bool:
    match operation:
        case op.AddAddress(address=address) | op.AddNeighbour(address=address):
            return address.version == 6
        case op.AddRoute(destination=destination):
            return destination.version == 6
    return False


def result(wiring: Wiring, gateway_mac: str = "", dns: Mapping[str, Json] = NOTHING) -> Result:
    """What ADD answers: the datapath's interfaces, the host's end, the pod's end with the addresses."""
    path = wiring.datapath
    host = ResultInterface(wiring.device, wiring.attachment.host_mac, mtu=path.pod_mtu)
    pod = ResultInterface(wiring.ifname, wiring.pod_mac, wiring.sandbox, path.pod_mtu)
    interfaces = [*path.result_interfaces(gateway_mac), host, pod]
    pod_index = len(interfaces) - 1
    addresses = [ResultAddress(path.interface_address(own), own.gateway, pod_index) for own in wiring.addresses]
    return Result(interfaces, addresses, list(wiring.routes), dns)
