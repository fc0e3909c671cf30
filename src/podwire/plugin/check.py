"""CHECK: is the attachment still as ADD answered it? The first difference is the error."""

from __future__ import annotations

from podwire.cni.errors import DIFFERENT, INVALID_CONFIGURATION, KERNEL_REFUSED, CniError
from podwire.cni.result import Result, ResultAddress
from podwire.ipam import delegate
from podwire.netlink import read
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.plugin import capabilities
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call, check_namespace

HINT = "delete the pod so that it is wired anew"


def check(call: Call, host: Host) -> None:
    """Compare the kernel with prevResult; raises CniError 104 that says what is missing or different.

    What later plug-ins of a chain added is not looked at: other interfaces, more addresses, more routes.
    """
    previous = call.config.prev_result
    if previous is None:
        raise CniError(INVALID_CONFIGURATION, "CHECK needs prevResult, the result of ADD: the runtime must pass it on")
    check_namespace(call, host)
    if call.config.ipam_type:
        delegate.run(call, "CHECK")
    try:
        _check_host(call, host)
        with host.open_pod(call.netns) as pod:
            _check_pod(call, pod, previous)
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"the attachment cannot be read: {refused.strerror}") from None


def _differs(words: str) -> CniError:
    return CniError(DIFFERENT, f"{words}: {HINT}")


def _check_host(call: Call, host: Host) -> None:
    device = call.attachment.device
    link = read.link(host.socket, device)
    if link is None:
        raise _differs(f"the host's device {device} of {call.request.ifname} is missing")
    if not link.up:
        raise _differs(f"the host's device {device} is down")
    if call.config.mode == "bridge":
        bridge = read.link(host.socket, call.config.bridge)
        if bridge is None or link.master != bridge.index:
            raise _differs(f"the host's device {device} is not a port of bridge {call.config.bridge}")
    if call.config.mode == "routed":
        here = {one.destination.network_address for one in read.routes(host.socket, 4) if one.device == link.index}
        here |= {one.destination.network_address for one in read.routes(host.socket, 6) if one.device == link.index}
        for one in _own_addresses(call):
            if one.address.ip not in here:
                raise _differs(f"the host's route to {one.address.ip} is missing")
    for one in _own_addresses(call):
        if not call.config.ipam_type and str(one.address.ip) not in link.altnames:
            raise _differs(f"the lease of {one.address.ip} (an altname of {device}) is missing")
    if words := capabilities.check(call, host, link, [one.address.ip for one in _own_addresses(call)]):
        raise _differs(words)


def _own_addresses(call: Call) -> list[ResultAddress]:
    """The addresses of prevResult that are on this call's interface."""
    previous = call.config.prev_result
    assert previous is not None
    own = [
        place
        for place, one in enumerate(previous.interfaces)
        if one.name == call.request.ifname and one.sandbox == call.request.netns
    ]
    return [one for one in previous.addresses if one.interface in own]


def _check_pod(call: Call, pod: Netlink, previous: Result) -> None:
    ifname = call.request.ifname
    told = next((one for one in previous.interfaces if one.name == ifname and one.sandbox == call.request.netns), None)
    if told is None:
        raise _differs(f"prevResult has no interface {ifname} in sandbox {call.request.netns}")
    link = read.link(pod, ifname)
    if link is None:
        raise _differs(f"interface {ifname} is missing in the container")
    if told.mac and link.mac != told.mac.lower():
        raise _differs(f"interface {ifname} has MAC {link.mac}, not {told.mac}")
    if not link.up:
        raise _differs(f"interface {ifname} is down in the container")
    there = {4: read.addresses(pod, link.index, 4), 6: read.addresses(pod, link.index, 6)}
    for one in _own_addresses(call):
        if one.address not in there[one.address.version]:
            raise _differs(f"interface {ifname} lacks its address {one.address}")
    own_families = {one.address.version for one in _own_addresses(call)}
    routes = [one for family in own_families for one in read.routes(pod, family)]
    for route in previous.routes:
        known = [one for one in routes if one.destination == route.destination]
        matching = [one for one in known if route.gateway is None or one.gateway == route.gateway]
        if route.destination.version in own_families and not matching and not route.numbers.get("table"):
            raise _differs(f"the container lacks its route to {route.destination}")
