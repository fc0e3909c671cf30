# SPDX-License-Identifier: Apache-2.0
"""ADD: wire a pod: the gateway device, then the veth, its leases, the host's end, the pod's end.

The kernel deletes with the veth all that belongs to it, so whatever fails, deleting the veth undoes it.
"""

from __future__ import annotations

import errno

from podwire.attachments.identity import current_time, pod_mac
from podwire.bandwidth import egress
from podwire.bandwidth import steps as bandwidth
from podwire.cni import fields as take
from podwire.cni.errors import EXISTS, FIREWALL, IO_FAILURE, KERNEL_REFUSED, CniError
from podwire.cni.result import Result, ResultAddress, ResultRoute
from podwire.datapath import wiring as wire
from podwire.datapath.wiring import Wiring
from podwire.hostports import table as hostports
from podwire.ipam.allocator import Allocation, pod_addresses, requested_addresses
from podwire.ipam.ranges import PodAddress
from podwire.netlink import namespaces, read
from podwire.netlink.apply import Indexes, KernelRefusedError, apply
from podwire.netlink.operations import AddAddress, AddRoute, Operation
from podwire.netlink.read import Link
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.nft.library import NftablesError
from podwire.plugin.context import Invocation
from podwire.plugin.network import pod_network
from podwire.plugin.sandbox import check_sandbox


def add(invocation: Invocation) -> bytes:
    """Wire the pod; the answer. If it raises CniError, nothing is left behind."""
    check_sandbox(invocation.request, invocation.netns, invocation.host)
    invocation.state.networks.check_current(invocation.config)
    config, plugin = invocation.config, invocation.ipam_plugin
    asked = config.requested or invocation.request.args.get("IP", "").split(",")
    requested = {} if config.ipam_type else requested_addresses(asked, config.range_sets)
    mac = _requested_mac(invocation)
    delegated = None
    if plugin:
        delegated = plugin.add()
        invocation.timings.end("ipam")
    try:
        return _attach(invocation, requested, delegated, mac)
    except BaseException:
        if plugin:
            plugin.release()
        raise


def _requested_mac(invocation: Invocation) -> str:
    """The MAC that runtimeConfig, args, CNI_ARGS or the configuration ask for; "" if none does."""
    mac = invocation.request.args.get("MAC")
    if mac:
        mac = take.checked_mac(mac, "CNI_ARGS MAC")
    return invocation.config.requested_mac or mac or invocation.config.mac


def _attach(invocation: Invocation, requested: Allocation, delegated: Result | None, mac: str) -> bytes:
    """`_build` with every failure as a CniError."""
    network = invocation.config.name
    try:
        try:
            return _build(invocation, requested, delegated, mac)
        except KernelRefusedError:
            # Perhaps the gateway device has just been deleted; the second attempt reads everything again.
            invocation.state.networks.invalidate()
            return _build(invocation, requested, delegated, mac)
    except KernelRefusedError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: {refused}") from None
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: the kernel refused: {refused.strerror}") from None
    except NftablesError as refused:
        raise CniError(FIREWALL, f"network {network}: the firewall cannot be set: {refused}") from None
    except OSError as refused:
        raise CniError(IO_FAILURE, f"network {network}: the host cannot be prepared: {refused}") from None


def _build(invocation: Invocation, requested: Allocation, delegated: Result | None, mac: str) -> bytes:
    host, config, state, timings = invocation.host, invocation.config, invocation.state, invocation.timings
    gateway, allocation, wiring = _plan(invocation, requested, delegated, mac)
    device = wiring.device
    timings.end("host")
    index_of = Indexes(host.socket, {gateway.name: gateway.index})
    try:
        apply(host.socket, wire.veth_operations(wiring), index_of, pod_netns=invocation.netns)
    except KernelRefusedError as refused:
        raise _why_no_veth(invocation, refused) from None
    try:
        taken = apply(host.socket, wire.lease_operations(wiring), index_of)
        if taken and not delegated:  # altnames of another IPAM plugin's addresses are no leases
            reserved = state.allocator.reserve(host, index_of, device, allocation, requested, taken)
            wiring = _leased_wiring(invocation, gateway, reserved, mac, initial_mac=wiring.pod_mac)
        timings.end("lease")
        if config.port_mappings:
            hostports.reserve(host, device, config.port_mappings, [pod.ip for pod in wiring.addresses], index_of)
            timings.end("ports")
        if config.bandwidth:
            bandwidth.limit(host, device, config.bandwidth, config.datapath.pod_mtu, wiring.alias, index_of)
            timings.end("limits")
        apply(host.socket, wire.host_operations(wiring), index_of)
        timings.end("wire")
        with host.open_pod(invocation.netns) as pod:
            _wire_pod(invocation, pod, wiring)
            host.pod_seconds += pod.busy_seconds
        timings.end("pod")
        if config.port_mappings:
            hostports.sync(host, state.firewall, device)
            timings.end("firewall")
        return config.answer(wire.result(wiring, gateway.mac, config.dns))
    except BaseException:
        _undo(invocation, device)
        raise


def _undo(invocation: Invocation, device: str) -> None:
    host, config = invocation.host, invocation.config
    host.delete(device)
    if config.bandwidth:
        egress.delete_of(host, device)
    if config.port_mappings:
        hostports.withdraw(host, invocation.state.firewall)


def _plan(
    invocation: Invocation, requested: Allocation, delegated: Result | None, mac: str
) -> tuple[Link, Allocation, Wiring]:
    """The gateway device, the addresses to try and the wiring with them."""
    host, config, state = invocation.host, invocation.config, invocation.state
    if delegated:
        addresses = [_pod_address(address) for address in delegated.addresses]
        gateway = state.networks.gateway_device(host, state.firewall, pod_network(config, addresses))
        default = config.is_default_gateway or config.datapath.requires_gateway
        routes = [*delegated.routes, *(wire.default_routes(addresses, delegated.routes) if default else ())]
        return gateway, {}, _wiring(invocation, addresses, routes, mac)
    gateway = state.networks.gateway_device(host, state.firewall, invocation.network)
    allocation = state.allocator.allocate(config.range_sets, requested, gateway.alias)
    return gateway, allocation, _leased_wiring(invocation, gateway, allocation, mac)


def _pod_address(delegated: ResultAddress) -> PodAddress:
    """If the IPAM plugin names no gateway, it is the first address of the subnet."""
    network = delegated.address.network
    gateway = delegated.gateway or (network[1] if network.num_addresses > 2 else network[0])
    return PodAddress(delegated.address.ip, network.prefixlen, gateway)


def _leased_wiring(
    invocation: Invocation, gateway: Link, allocation: Allocation, mac: str, initial_mac: str = ""
) -> Wiring:
    """The wiring with these addresses, which the gateway device's alias will name as the last leases."""
    config = invocation.config
    note, noted = None, invocation.state.allocator.note_leases
    if allocation:
        note = noted(gateway.name, gateway.alias, tuple(allocation), allocation.values())
    addresses = pod_addresses(allocation)
    routes = wire.configured_routes(config.routes, addresses, default=config.is_default_gateway)
    return _wiring(invocation, addresses, routes, mac, note or "", initial_mac)


def _wiring(
    invocation: Invocation,
    addresses: list[PodAddress],
    routes: list[ResultRoute],
    mac: str,
    note: str = "",
    initial_mac: str = "",
) -> Wiring:
    config, attachment = invocation.config, invocation.attachment
    ips = sorted((address.ip for address in addresses), key=lambda ip: ip.version)
    return Wiring(
        attachment,
        config.datapath,
        mac or pod_mac(ips[0] if ips else None, attachment.device),
        invocation.request.netns,
        addresses,
        routes,
        alias=attachment.alias(current_time()),
        addrgenmode_none=wire.wants_addrgenmode_none(config.datapath, ipv6=invocation.host.namespace.ipv6),
        note=note,
        initial_mac=initial_mac,
        has_host_ports=bool(config.port_mappings),
    )


def _why_no_veth(invocation: Invocation, refused: KernelRefusedError) -> Exception:
    """EEXIST: the name is taken, on the host by the same attachment or in the pod by another interface."""
    if refused.number != errno.EEXIST:
        return refused
    attachment = invocation.attachment
    if read.link(invocation.host.socket, attachment.device):
        return CniError(
            EXISTS,
            f"{attachment.ifname} of container {attachment.container_id[:64]} is attached to network "
            f"{invocation.config.name} already ({attachment.device}): DEL it first",
        )
    return CniError(EXISTS, f"the container has an interface {attachment.ifname} already: choose another CNI_IFNAME")


def _wire_pod(invocation: Invocation, pod: Netlink, wiring: Wiring) -> None:
    """The pod's end. If its namespace was created with IPv6 disabled, IPv6 is enabled for the interface."""
    ipv6_off = False

    def excused(operation: Operation, refused: NetlinkError) -> bool:
        nonlocal ipv6_off
        if isinstance(operation, AddAddress) and wire.needs_ipv6(operation) and refused.errno == errno.EACCES:
            ipv6_off = True
        return (ipv6_off and wire.needs_ipv6(operation)) or _has_route(pod, operation)

    operations = wire.pod_operations(wiring)
    apply(pod, operations, pod=True, ignore=excused)
    if ipv6_off:
        setting = f"net/ipv6/conf/{wiring.ifname}/disable_ipv6"
        namespaces.write_sysctl_inside(invocation.netns, invocation.host.namespace.descriptor, setting, "0")
        again = [operation for operation in operations if wire.needs_ipv6(operation)]
        apply(pod, again, pod=True, ignore=lambda operation, _: _has_route(pod, operation))


def _has_route(pod: Netlink, operation: Operation) -> bool:
    """Has another interface this route already? The first one is kept, whatever error number the kernel answers."""
    if not isinstance(operation, AddRoute) or not operation.may_exist:
        return False
    destination = operation.destination
    return any(route.destination == destination for route in read.routes(pod, destination.version))
