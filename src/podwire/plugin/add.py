"""ADD: wire a pod. The host part first, then the veth, its leases, the host's end, the pod's end.

Everything hangs on the veth: whatever fails, deleting it undoes all.
"""

from __future__ import annotations

import errno

from podwire.attachments.identity import pod_mac
from podwire.cni import document
from podwire.cni import fields as take
from podwire.cni.errors import EXISTS, FIREWALL, IO_FAILURE, KERNEL_REFUSED, CniError
from podwire.cni.result import Result, ResultAddress, ResultRoute, encode_result
from podwire.datapath import wiring as wire
from podwire.datapath.wiring import PodAddress, Wiring
from podwire.ipam import allocator as leasing
from podwire.netlink import namespaces as namespace
from podwire.netlink import read
from podwire.netlink.apply import Indexes, KernelRefusedError, apply
from podwire.netlink.operations import AddAddress, AddRoute, Operation
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.nft.library import NftablesError
from podwire.plugin import capabilities
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call, check_namespace, now
from podwire.plugin.network import network_of


def add(call: Call, host: Host) -> bytes:
    """Wire the pod; the whole answer, chained results included. Raises CniError with nothing left behind."""
    check_namespace(call, host)
    call.networks.check_current(call.config)
    requested = leasing.requested_addresses(call.request, call.config)
    asked = _asked_mac(call)
    given = None
    if call.config.ipam_type:
        from podwire.ipam import delegate  # noqa: PLC0415  others do not wait for it

        given = delegate.addresses(call)
        host.end_phase("ipam")
    try:
        return _attach(call, host, requested, given, asked)
    except BaseException:
        if given is not None:
            delegate.give_back(call)
        raise


def _attach(call: Call, host: Host, requested: leasing.Claims, given: Result | None, asked: str) -> bytes:
    """`_build` with every refusal as the CniError that people read."""
    network = call.config.name
    try:
        try:
            return _build(call, host, requested, given, asked)
        except KernelRefusedError:
            # Perhaps somebody removed the bridge just now; the second time looks at everything anew.
            call.networks.forget_ready()
            return _build(call, host, requested, given, asked)
    except KernelRefusedError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: {refused}") from None
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: the kernel refused: {refused.strerror}") from None
    except NftablesError as refused:
        raise CniError(FIREWALL, f"network {network}: the firewall cannot be set: {refused}") from None
    except OSError as refused:
        raise CniError(IO_FAILURE, f"network {network}: the host cannot be prepared: {refused}") from None


def _build(call: Call, host: Host, requested: leasing.Claims, given: Result | None, asked: str) -> bytes:
    gateway, claims, wiring = _decide(call, host, requested, given, asked)
    host.end_phase("host")
    index_of = Indexes(host.socket, {gateway.name: gateway.index})
    _create_veth(call, host, wiring, index_of)
    try:
        taken = apply(host.socket, wire.lease_operations(wiring), index_of)
        if taken and not given:  # the altnames of another plug-in's addresses are for people, not for leases
            held = leasing.hold(host, index_of, wiring.device, claims, requested, taken)
            wiring = _leased(call, host, gateway, held, asked, initial_mac=wiring.pod_mac)
        host.end_phase("lease")
        capabilities.claim(call, host, index_of, [one.ip for one in wiring.addresses])
        capabilities.shape(call, host, index_of, wiring.alias)
        apply(host.socket, wire.host_operations(wiring), index_of)
        host.end_phase("wire")
        with host.open_pod(call.netns) as pod:
            _wire_pod(call, host, pod, wiring)
            host.pod_seconds += pod.busy_seconds
        host.end_phase("pod")
        capabilities.publish(call, host)
        return answer(wiring, gateway.mac)
    except BaseException:
        host.delete(wiring.device)  # which undoes all but what capabilities brought
        capabilities.undo(call, host)
        raise


def _create_veth(call: Call, host: Host, wiring: Wiring, index_of: Indexes) -> None:
    try:
        apply(host.socket, wire.veth_operations(wiring), index_of, pod_netns=call.netns)
    except KernelRefusedError as refused:
        raise _why_no_veth(call, host, refused) from None


def _decide(
    call: Call, host: Host, requested: leasing.Claims, given: Result | None, asked: str
) -> tuple[read.Link, leasing.Claims, Wiring]:
    """The gateway device, the addresses to try and the wiring with them."""
    if given:
        addresses = [_pod_address(one) for one in given.addresses]
        gateway = call.networks.gateway_device(host, network_of(call.config, addresses))
        routes = wire.given_routes(call.config, given.routes, addresses)
        return gateway, {}, _wiring(call, host, addresses, routes, asked)
    gateway = call.networks.gateway_device(host, call.network)
    claims = leasing.claim(host, call.config, requested, gateway.alias)
    return gateway, claims, _leased(call, host, gateway, claims, asked)


def _pod_address(given: ResultAddress) -> PodAddress:
    """Without a gateway, the range's first address is it."""
    network = given.address.network
    gateway = given.gateway or (network[1] if network.num_addresses > 2 else network[0])
    return PodAddress(given.address.ip, network.prefixlen, gateway)


def _leased(
    call: Call, host: Host, gateway: read.Link, claims: leasing.Claims, asked: str, initial_mac: str = ""
) -> Wiring:
    """The wiring with these addresses; which they are is noted in the gateway device's alias."""
    note = claims and host.shared.note_leases(gateway.name, gateway.alias, tuple(claims), claims.values())
    return _wiring(call, host, leasing.as_pod_addresses(claims), None, asked, note or "", initial_mac)


def _wiring(
    call: Call,
    host: Host,
    addresses: list[PodAddress],
    given_routes: list[ResultRoute] | None,
    asked: str,
    note: str = "",
    initial_mac: str = "",
) -> Wiring:
    config, attachment = call.config, call.attachment
    if not asked:
        lowest = min(addresses, key=_version).ip if addresses else None
        asked = pod_mac(lowest, attachment.device)
    return Wiring(
        attachment,
        config,
        asked,
        call.request.netns,
        addresses,
        given_routes,
        alias=attachment.alias(now()),
        addrgenmode_none=wire.wants_addrgenmode_none(config, ipv6=host.shared.ipv6),
        note=note,
        initial_mac=initial_mac,
    )


def answer(wiring: Wiring, bridge_mac: str) -> bytes:
    """What ADD prints: the attachment behind what plug-ins before it did."""
    own = wire.result(wiring, bridge_mac, wiring.config.pod_mtu)
    previous = wiring.config.prev_result
    whole = previous.joined(own) if previous else own
    return document.dump(encode_result(whole, wiring.config.version))


def _version(address: PodAddress) -> int:
    return address.ip.version


def _asked_mac(call: Call) -> str:
    """The MAC that runtimeConfig, args, CNI_ARGS or the configuration ask for; "": it is made of the address."""
    asked = call.request.args.get("MAC")
    if asked:
        asked = take.checked_mac(asked, "CNI_ARGS MAC")
    return call.config.requested_mac or asked or call.config.mac


def _wire_pod(call: Call, host: Host, pod: Netlink, wiring: Wiring) -> None:
    """The pod's end. Where its namespace was born with IPv6 switched off, it is switched on for the interface."""
    ipv6_off = False

    def excused(operation: Operation, refused: NetlinkError) -> bool:
        nonlocal ipv6_off
        if isinstance(operation, AddAddress) and wire.needs_ipv6(operation) and refused.errno == errno.EACCES:
            ipv6_off = True
        return (ipv6_off and wire.needs_ipv6(operation)) or _has_route(pod, operation)

    apply(pod, wire.pod_operations(wiring), pod=True, ignore=excused)
    if ipv6_off:
        setting = f"net/ipv6/conf/{call.request.ifname}/disable_ipv6"
        namespace.write_sysctl_inside(call.netns, host.home, setting, "0")
        again = wire.ipv6_operations(wire.pod_operations(wiring))
        apply(pod, again, pod=True, ignore=lambda operation, _: _has_route(pod, operation))


def _has_route(pod: Netlink, operation: Operation) -> bool:
    """Does another interface have this route already? The first one wins, whatever words the kernel has for it."""
    if not isinstance(operation, AddRoute) or not operation.may_exist:
        return False
    destination = operation.destination
    return any(one.destination == destination for one in read.routes(pod, destination.version))


def _why_no_veth(call: Call, host: Host, refused: KernelRefusedError) -> Exception:
    """A name is taken: on the host by this very attachment, or in the pod by another interface."""
    if refused.number != errno.EEXIST:
        return refused
    attachment = call.attachment
    if read.link(host.socket, attachment.device):
        return CniError(
            EXISTS,
            f"{attachment.ifname} of container {attachment.container_id[:64]} is attached to network "
            f"{call.config.name} already ({attachment.device}): DEL it first",
        )
    return CniError(EXISTS, f"the container has an interface {attachment.ifname} already: choose another CNI_IFNAME")
