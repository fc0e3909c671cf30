# SPDX-License-Identifier: Apache-2.0
"""The host ports that a runtime asks for: `portMappings` of `runtimeConfig`, checked, and what they mean for a pod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from podwire.attachments.altnames import PROTOCOLS, HostPort, HostPorts
from podwire.cni import fields as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import invalid
from podwire.ip import Address
from podwire.record import Record
from podwire.text import shown

LARGEST_PORT = 65535
ANY: dict[int, Address] = {4: IPv4Address(0), 6: IPv6Address(0)}
IPV6_LOOPBACK = IPv6Address("::1")


class PortMapping(Record):
    """A port of the host that leads to one of the pod; without `host_ip`, on every address of the host."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: Address | None = None


def port_mappings(runtime: JsonObject) -> tuple[PortMapping, ...]:
    """`runtimeConfig.portMappings`; an entry with hostPort 0 maps nothing. Raises CniError 6 or 7."""
    found: dict[PortMapping, None] = {}
    for entry in take.objects(runtime, "portMappings"):
        host_port = _port(entry, "hostPort", smallest=0)
        protocol = (take.string(entry, "protocol") or PROTOCOLS[0]).lower()
        pod_port, host_ip = _port(entry, "containerPort", smallest=1), _host_ip(take.string(entry, "hostIP"))
        if protocol not in PROTOCOLS:
            raise invalid(f"portMappings: protocol={shown(protocol)} is unknown: use one of {', '.join(PROTOCOLS)}")
        mapping = PortMapping(protocol, host_port, pod_port, host_ip)
        if host_port:
            found[mapping] = None
    return tuple(found)


def _port(values: JsonObject, key: str, *, smallest: int) -> int:
    port = take.integer(values, key)
    if not smallest <= port <= LARGEST_PORT:
        raise invalid(f"portMappings: {key}={port} is not between {smallest} and {LARGEST_PORT}")
    return port


def _host_ip(text: str) -> Address | None:
    if not text:
        return None
    try:
        if "%" in text:
            raise ValueError
        return ip_address(text)
    except ValueError:
        raise invalid(f"portMappings: hostIP={shown(text)} is not an IP address") from None


def desired_host_ports(mappings: Iterable[PortMapping], addresses: Sequence[Address]) -> HostPorts:
    """What mappings mean for a pod with these addresses: a host port for each family of the pod. Raises CniError 7."""
    families = {address.version for address in addresses}
    found: HostPorts = {}
    for mapping in mappings:
        number = mapping.host_port
        wanted = [mapping.host_ip] if mapping.host_ip else list(ANY.values())
        fitting = [address for address in wanted if address.version in families]
        if not fitting:
            reason = f"the pod has no address of the family of hostIP={mapping.host_ip}"
            raise invalid(f"hostPort {number}: {reason}: choose a hostIP of the pod's family")
        for address in fitting:
            if address == IPV6_LOOPBACK:
                raise invalid(f"hostPort {number}: Linux does not forward what comes from ::1: choose another hostIP")
            port = HostPort(mapping.protocol, address, number)
            if any(other.overlaps(port) for other in found):
                raise invalid(f"portMappings: hostPort {number}/{mapping.protocol} is mapped twice: remove one")
            found[port] = mapping.container_port
    return found
