"""The wiring of one attachment: its addresses and its mode in, operations for the host and for the pod out."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from podwire.attachments.identity import Attachment
from podwire.cni.result import Result, ResultAddress, ResultInterface, ResultRoute
from podwire.ip import Address, Interface, Network, single_address, with_prefix
from podwire.netlink import operations as op
from podwire.netlink.operations import Operation
from podwire.plugin.config import Configuration
from podwire.record import Record

ANYWHERE: dict[int, Network] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
LOOPBACK = "lo"
SMALLEST_IPV6_MTU = 1280
POD_INDEX_OFFSET = 0x10000000


class PodAddress(Record):
    """An address of a pod, the prefix length of its range, and the gateway of its family."""

    ip: Address
    prefix: int
    gateway: Address | None

    @property
    def network(self) -> Network:
        """The range that it is from."""
        return with_prefix(self.ip, self.prefix).network


class Wiring(Record):
    """One attachment with all that was decided about it; `given_routes` are another IPAM plug-in's.

    `index` is to be the host's end's; 0 where the kernel chooses. `alias` is the host's device's, `note` the gateway
    device's ("": it stays as it is). `born_mac` is the MAC that the pod's end was born with, where that may not be
    `pod_mac`: its address became another one meanwhile.
    """

    attachment: Attachment
    config: Configuration
    pod_mac: str
    sandbox: str
    addresses: Sequence[PodAddress] = ()
    given_routes: Sequence[ResultRoute] | None = None
    index: int = 0
    alias: str = ""
    addrgenmode_none: bool = False
    note: str = ""
    initial_mac: str = ""

    @property
    def device(self) -> str:
        return self.attachment.device

    @property
    def ifname(self) -> str:
        return self.attachment.ifname

    @property
    def pod_index(self) -> int:
        """The pod's end's index: not the host's, since tools take a device with its peer's index for no pair."""
        return self.index + POD_INDEX_OFFSET if self.index else 0

    @property
    def routes(self) -> Sequence[ResultRoute]:
        """The pod's routes."""
        return chosen_routes(self.config, self.addresses) if self.given_routes is None else self.given_routes

    @property
    def routed(self) -> bool:
        return self.config.mode == "routed"


def veth_operations(wiring: Wiring) -> list[Operation]:
    """The veth, born with one end on the host and the other in the pod; in bridge mode as a port of the bridge."""
    veth = op.AddVeth(
        name=wiring.device,
        mac=wiring.attachment.host_mac,
        peer=wiring.ifname,
        peer_mac=wiring.pod_mac,
        mtu=wiring.config.mtu,
        master=None if wiring.routed else wiring.config.bridge,
        index=wiring.index,
        peer_index=wiring.pod_index,
    )
    return [veth]


def lease_operations(wiring: Wiring) -> list[Operation]:
    """Whose device it is, and its addresses' leases; then it is raised, since of a device that is down the kernel tells
    nobody that its alias is another one."""
    device = wiring.device
    owner = op.SetAlias(device, wiring.alias, wiring.addrgenmode_none)
    return [owner, *(op.AddAltname(device, str(one.ip)) for one in wiring.addresses), op.SetUp(device)]


def host_operations(wiring: Wiring) -> list[Operation]:
    """What the host's end gets once its leases are held.

    Routed: a host route and a permanent neighbour for every address. They vanish with the device.
    """
    device = wiring.device
    operations: list[Operation] = []
    # With br_netfilter, a pod's call to a host port of its own is bridged back to where it came from.
    if not wiring.routed and (wiring.config.hairpin or wiring.config.port_mappings):
        operations.append(op.SetHairpin(device))
    for one in wiring.addresses if wiring.routed else ():
        operations.append(op.AddRoute(device, single_address(one.ip), link_scope=True))
        operations.append(op.AddNeighbour(device, one.ip, wiring.pod_mac))
    if wiring.note:
        operations.append(op.SetAlias(wiring.config.gateway_device, wiring.note))
    return operations


def all_host_operations(wiring: Wiring) -> list[Operation]:
    """The three in one batch, which takes an index that is known beforehand."""
    return veth_operations(wiring) + lease_operations(wiring) + host_operations(wiring)


def pod_operations(wiring: Wiring) -> list[Operation]:
    """What the pod's end gets: the loopback up, the interface up, addresses and routes."""
    ifname = wiring.ifname
    operations: list[Operation] = [op.SetUp(LOOPBACK)]
    if wiring.initial_mac not in ("", wiring.pod_mac):
        operations.append(op.SetMac(ifname, wiring.pod_mac))
    operations.append(op.SetUp(ifname))
    for one in wiring.addresses:
        operations.append(op.AddAddress(ifname, in_pod(wiring, one)))
    if wiring.routed:
        for gateway in gateways(wiring.addresses).values():
            operations.append(op.AddRoute(ifname, single_address(gateway), link_scope=True, may_exist=True))
            operations.append(op.AddNeighbour(ifname, gateway, wiring.attachment.host_mac))
    for route in wiring.routes:
        operations.append(_pod_route(wiring, route))
    return operations


def _pod_route(wiring: Wiring, route: ResultRoute) -> op.AddRoute:
    gateway = gateways(wiring.addresses).get(route.destination.version)
    via = route.gateway or gateway
    numbers = route.numbers
    return op.AddRoute(
        device=wiring.ifname,
        destination=route.destination,
        via=via,
        may_exist=True,
        mtu=numbers.get("mtu"),
        advmss=numbers.get("advmss"),
        metric=numbers.get("priority"),
        table=numbers.get("table"),
        scope=numbers.get("scope"),
        # A second interface finds the gateway's own route on the first; other gateways must be reachable by themselves.
        onlink=wiring.routed and via is not None and via == gateway,
    )


def in_pod(wiring: Wiring, one: PodAddress) -> Interface:
    """The address as the pod's interface has it: with its range's prefix on a bridge, alone when routed."""
    return with_prefix(one.ip, one.ip.max_prefixlen if wiring.routed else one.prefix)


def gateways(addresses: Sequence[PodAddress]) -> dict[int, Address]:
    """The gateway of each family."""
    found: dict[int, Address] = {}
    for one in addresses:
        if one.gateway is not None:
            found.setdefault(one.ip.version, one.gateway)
    return found


def wants_addrgenmode_none(config: Configuration, *, ipv6: bool) -> bool:
    """Does the host's end need to be kept from an IPv6 address of its own? `ipv6`: the kernel has IPv6."""
    return ipv6 and config.pod_mtu >= SMALLEST_IPV6_MTU


def chosen_routes(config: Configuration, addresses: Sequence[PodAddress]) -> list[ResultRoute]:
    """The pod's routes: the configuration's, else (or with isDefaultGateway, as well) a default route."""
    routes = list(config.routes or ())
    if config.routes is not None and not config.is_default_gateway:
        return routes
    present = {route.destination for route in routes}
    return routes + default_routes(addresses, present)


def given_routes(
    config: Configuration, given: Sequence[ResultRoute], addresses: Sequence[PodAddress]
) -> list[ResultRoute]:
    """The routes of another IPAM plug-in; a default route as well where the mode or the configuration wants one."""
    routes = list(given)
    if config.is_default_gateway or config.mode == "routed":
        routes += default_routes(addresses, {one.destination for one in routes})
    return routes


def ipv6_operations(operations: Sequence[Operation]) -> list[Operation]:
    """Those that need IPv6 on the pod's interface."""
    return [one for one in operations if needs_ipv6(one)]


def needs_ipv6(operation: Operation) -> bool:
    """Is it about an IPv6 address, route or neighbour?"""
    match operation:
        case op.AddAddress(address=address) | op.AddNeighbour(address=address):
            return address.version == 6
        case op.AddRoute(destination=destination):
            return destination.version == 6
    return False


def default_routes(addresses: Sequence[PodAddress], present: set[Network]) -> list[ResultRoute]:
    """A default route for every family that has a gateway and none yet."""
    return [
        ResultRoute(ANYWHERE[family], gateway)
        for family, gateway in sorted(gateways(addresses).items())
        if ANYWHERE[family] not in present
    ]


def result(wiring: Wiring, bridge_mac: str = "", mtu: int | None = None) -> Result:
    """What ADD answers: the bridge if there is one, the host's end, the pod's end with the addresses."""
    interfaces = [ResultInterface(wiring.config.bridge, bridge_mac)] if not wiring.routed else []
    interfaces.append(ResultInterface(wiring.device, wiring.attachment.host_mac, mtu=mtu))
    interfaces.append(ResultInterface(wiring.ifname, wiring.pod_mac, wiring.sandbox, mtu))
    place = len(interfaces) - 1
    addresses = [ResultAddress(in_pod(wiring, one), one.gateway, place) for one in wiring.addresses]
    return Result(interfaces, addresses, list(wiring.routes), wiring.config.dns)
