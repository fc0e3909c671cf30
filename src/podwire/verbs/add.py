"""ADD: wire a pod. The host part first, then the veth, its leases, the host's end, the pod's end.

Everything hangs on the veth: whatever fails, deleting it undoes all.
"""

from __future__ import annotations

import errno
import time

from podwire.cni import values as take
from podwire.cni.errors import EXISTS, FIREWALL, IO_FAILURE, KERNEL_REFUSED, CniError
from podwire.cni.result import Result
from podwire.kernel import namespace, read
from podwire.kernel.apply import Indexes, KernelRefusedError, apply
from podwire.kernel.host import Host
from podwire.kernel.netlink import Netlink, NetlinkError
from podwire.kernel.nftables import NftablesError
from podwire.plan.operations import AddAddress, Address, AddRoute, Operation, SetAlias
from podwire.plan.operations import Network as IpNetwork
from podwire.pod import wiring as wire
from podwire.pod.identity import pod_mac
from podwire.pod.wiring import PodAddress, Wiring
from podwire.verbs import capabilities, leasing
from podwire.verbs.call import Call, check_namespace
from podwire.verbs.network import network_of

SMALLEST_IPV6_MTU = 1280


def add(call: Call, host: Host) -> Result:
    """Wire the pod; the whole result, chained results included. Raises CniError with nothing left behind."""
    check_namespace(call, host)
    requested = leasing.requested_addresses(call.request, call.config)
    _mac(call, [])  # a MAC that is none is refused before anything is touched
    given = None
    if call.config.ipam_type:
        from podwire.verbs import delegate  # noqa: PLC0415  others do not wait for it

        given = delegate.addresses(call)
        host.lap("ipam")
    try:
        own = _attach(call, host, requested, given)
    except BaseException:
        if given is not None:
            delegate.give_back(call)
        raise
    previous = call.config.prev_result
    return previous.joined(own) if previous else own


def _attach(call: Call, host: Host, requested: leasing.Claims, given: Result | None) -> Result:
    """`_build` with every refusal as the CniError that people read."""
    network = call.config.name
    try:
        try:
            return _build(call, host, requested, given)
        except KernelRefusedError:
            # Perhaps somebody removed the bridge just now; the second time looks at everything anew.
            call.networks.forget_ready()
            return _build(call, host, requested, given)
    except KernelRefusedError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: {refused}") from None
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"network {network}: the kernel refused: {refused.strerror}") from None
    except NftablesError as refused:
        raise CniError(FIREWALL, f"network {network}: the firewall cannot be set: {refused}") from None
    except OSError as refused:
        raise CniError(IO_FAILURE, f"network {network}: the host cannot be prepared: {refused}") from None


def _build(call: Call, host: Host, requested: leasing.Claims, given: Result | None) -> Result:
    config, attachment = call.config, call.attachment
    addresses = _delegated(given) if given else []
    network = network_of(config, addresses) if given else call.network
    gateway_device = call.networks.gateway_device(host, network)
    host.lap("host")
    claims = first_claims = leasing.claim(host, config, requested, gateway_device.alias)
    first = [*claims.values(), *(one.interface.ip for one in addresses)]
    wiring = Wiring(attachment, config, _mac(call, first), call.request.netns)
    veth = wire.veth(wiring)
    index_of = Indexes(host.socket)
    try:
        apply(host.socket, [veth], index_of, pod_netns=call.netns)
    except KernelRefusedError as refused:
        raise _why_no_veth(call, host, refused) from None
    try:
        quiet6 = host.shared.ipv6 and config.pod_mtu >= SMALLEST_IPV6_MTU
        owner = SetAlias(veth.name, attachment.alias(_now()), quiet6)
        if given:
            leasing.name_after(host, index_of, owner, addresses)
            routes = wire.given_routes(config, given.routes, addresses)
        else:
            claims = leasing.hold(host, index_of, owner, claims, requested)
            addresses = leasing.as_pod_addresses(claims)
            routes = wire.chosen_routes(config, addresses)
        mac = wiring.pod_mac
        if given is None and claims != first_claims:
            mac = _mac(call, [*claims.values()])
        host.lap("lease")
        capabilities.claim(call, host, index_of, [one.interface.ip for one in addresses])
        capabilities.shape(call, host, index_of, owner)
        whole = Wiring(attachment, config, mac, call.request.netns, addresses, routes)
        _wire(call, host, index_of, whole, veth.peer_mac, claims, gateway_device)
        capabilities.publish(call, host)
        return wire.result(whole, gateway_device.mac, config.pod_mtu)
    except BaseException:
        host.delete(veth.name)
        capabilities.undo(call, host)
        raise


def _wire(
    call: Call,
    host: Host,
    index_of: Indexes,
    wiring: Wiring,
    born_with: str,
    claims: leasing.Claims,
    gateway_device: read.Link,
) -> None:
    """The host's end, then the pod's end."""
    operations = wire.host_operations(wiring)
    alias = host.shared.note_leases(gateway_device.name, gateway_device.alias, claims.items()) if claims else None
    if alias:
        operations.append(SetAlias(gateway_device.name, alias))
    apply(host.socket, operations, index_of)
    host.lap("wire")
    with host.open_pod(call.netns) as pod:
        _wire_pod(call, host, pod, wire.pod_operations(wiring, born_with))
        host.pod_seconds += pod.busy_seconds
    host.lap("pod")


def _wire_pod(call: Call, host: Host, pod: Netlink, operations: list[Operation]) -> None:
    """The pod's end. Where its namespace was born with IPv6 switched off, it is switched on for the interface."""
    ipv6_off = False

    def excused(operation: Operation, refused: NetlinkError) -> bool:
        nonlocal ipv6_off
        if isinstance(operation, AddAddress) and wire.needs_ipv6(operation) and refused.errno == errno.EACCES:
            ipv6_off = True
        return (ipv6_off and wire.needs_ipv6(operation)) or _has_route(pod, operation)

    apply(pod, operations, pod=True, excused=excused)
    if ipv6_off:
        setting = f"net/ipv6/conf/{call.request.ifname}/disable_ipv6"
        namespace.write_sysctl_inside(call.netns, host.home, setting, "0")
        again = wire.ipv6_operations(operations)
        apply(pod, again, pod=True, excused=lambda operation, _: _has_route(pod, operation))


def _has_route(pod: Netlink, operation: Operation) -> bool:
    """Does another interface have this route already? The first one wins, whatever words the kernel has for it."""
    if not isinstance(operation, AddRoute) or not operation.may_exist:
        return False
    destination = operation.destination
    return any(one.destination == destination for one in read.routes(pod, destination.version))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _delegated(given: Result) -> list[PodAddress]:
    return [PodAddress(one.address, one.gateway or _first_of(one.address.network)) for one in given.addresses]


def _first_of(network: IpNetwork) -> Address:
    return network[1] if network.num_addresses > 2 else network[0]


def _mac(call: Call, addresses: list[Address]) -> str:
    """The pod's MAC: asked for by runtimeConfig, args or CNI_ARGS, else the configuration's, else by address."""
    config = call.config
    asked = take.checked_mac(call.request.args.get("MAC", ""), "CNI_ARGS MAC")
    lowest = min(addresses, key=lambda one: one.version, default=None)
    return config.requested_mac or asked or config.mac or pod_mac(lowest, call.attachment.device)


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
