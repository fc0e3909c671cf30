# SPDX-License-Identifier: Apache-2.0
"""CHECK: is the attachment still as ADD answered it? The first difference is the error."""

from __future__ import annotations

from podwire.bandwidth import steps as bandwidth
from podwire.cni.errors import DIFFERENT, KERNEL_REFUSED, CniError, invalid
from podwire.cni.result import Result, ResultAddress
from podwire.hostports import table as hostports
from podwire.netlink import read
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.plugin.context import Invocation
from podwire.plugin.sandbox import check_sandbox

HINT = "delete the pod so that it is wired anew"


def check(invocation: Invocation) -> None:
    """Compare the kernel with prevResult; raises CniError 104. What later plugins of a chain added is not compared."""
    previous = invocation.config.prev_result
    if previous is None:
        raise invalid("CHECK needs prevResult, the result of ADD: the runtime must pass it on")
    check_sandbox(invocation.request, invocation.netns, invocation.host)
    if plugin := invocation.ipam_plugin:
        plugin.run("CHECK")
    addresses = _own_addresses(invocation, previous)
    try:
        _check_host(invocation, addresses)
        with invocation.host.open_pod(invocation.netns) as pod:
            _check_pod(invocation, pod, previous, addresses)
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"the attachment cannot be read: {refused.strerror}") from None


def _differs(difference: str) -> CniError:
    return CniError(DIFFERENT, f"{difference}: {HINT}")


def _own_addresses(invocation: Invocation, previous: Result) -> list[ResultAddress]:
    """The addresses of prevResult that are on this call's interface."""
    request = invocation.request
    ours = request.ifname, request.netns
    own = [place for place, found in enumerate(previous.interfaces) if (found.name, found.sandbox) == ours]
    return [address for address in previous.addresses if address.interface in own]


def _check_host(invocation: Invocation, own_addresses: list[ResultAddress]) -> None:
    host, config, device = invocation.host, invocation.config, invocation.attachment.device
    addresses = [address.address.ip for address in own_addresses]
    link = read.link(host.socket, device)
    if link is None:
        raise _differs(f"the host's device {device} of {invocation.request.ifname} is missing")
    if not link.up:
        raise _differs(f"the host's device {device} is down")
    if difference := config.datapath.difference(host.socket, link, addresses):
        raise _differs(difference)
    for address in addresses:
        if not config.ipam_type and str(address) not in link.altnames:
            raise _differs(f"the lease of {address} (an altname of {device}) is missing")
    if config.port_mappings:
        difference = hostports.difference(host, invocation.state.firewall, link, config.port_mappings, addresses)
    if config.bandwidth and not difference:
        difference = bandwidth.difference(host, link, config.bandwidth)
    if difference:
        raise _differs(difference)


def _check_pod(invocation: Invocation, pod: Netlink, previous: Result, own_addresses: list[ResultAddress]) -> None:
    ifname, sandbox = invocation.request.ifname, invocation.request.netns
    expected = next((own for own in previous.interfaces if (own.name, own.sandbox) == (ifname, sandbox)), None)
    if expected is None:
        raise _differs(f"prevResult has no interface {ifname} in sandbox {sandbox}")
    link = read.link(pod, ifname)
    if link is None:
        raise _differs(f"interface {ifname} is missing in the container")
    if expected.mac and link.mac != expected.mac.lower():
        raise _differs(f"interface {ifname} has MAC {link.mac}, not {expected.mac}")
    if not link.up:
        raise _differs(f"interface {ifname} is down in the container")
    actual = {4: read.addresses(pod, link.index, 4), 6: read.addresses(pod, link.index, 6)}
    for own in own_addresses:
        if own.address not in actual[own.address.version]:
            raise _differs(f"interface {ifname} lacks its address {own.address}")
    families = {own.address.version for own in own_addresses}
    routes = [route for family in families for route in read.routes(pod, family)]
    for wanted in previous.routes:
        same = [route for route in routes if route.destination == wanted.destination]
        matching = [route for route in same if wanted.gateway is None or route.gateway == wanted.gateway]
        if wanted.destination.version in families and not matching and not wanted.numbers.get("table"):
            raise _differs(f"the container lacks its route to {wanted.destination}")
