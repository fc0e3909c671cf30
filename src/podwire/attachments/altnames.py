# SPDX-License-Identifier: Apache-2.0
"""What the altnames of an attachment's device hold: its leased addresses and its host ports.

An altname is unique in its network namespace: the kernel refuses a second device the same one, and frees it with the
device. `10.244.1.2` is a leased address. `tcp:0.0.0.0:8080` means that port 8080 of the host, on every IPv4 address,
belongs to this device. If the pod's port is different, a second altname names it: `tcp:0.0.0.0:8080>80`.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from podwire.ip import Address
from podwire.record import Record

PROTOCOLS = ("tcp", "udp", "sctp")


def leased_addresses(names: Iterable[str]) -> list[Address]:
    found: list[Address] = []
    for name in names:
        try:
            found.append(ip_address(name))
        except ValueError:
            continue
    return found


class HostPort(Record):
    """A port of the host; the unspecified address (0.0.0.0, ::) is every address of its family."""

    protocol: str
    address: Address
    port: int

    @property
    def altname(self) -> str:
        """`tcp:10.0.0.1:8080`, `udp:[::]:53`."""
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.protocol}:{host}:{self.port}"

    def overlaps(self, other: HostPort) -> bool:
        """Would a packet to one of them be for the other as well?"""
        same = (self.protocol, self.port, self.address.version) == (other.protocol, other.port, other.address.version)
        anywhere = self.address.is_unspecified or other.address.is_unspecified
        return same and (anywhere or self.address == other.address)


HostPorts = dict[HostPort, int]  # the host ports of an attachment, each with the port of the pod that it leads to


def host_port_altnames(ports: HostPorts) -> list[str]:
    """The altnames of host ports. Those that reserve a host port come first; only they can be taken already."""
    different = [f"{port.altname}>{pod_port}" for port, pod_port in ports.items() if port.port != pod_port]
    return [*(port.altname for port in ports), *different]


def parse_host_ports(names: Iterable[str]) -> HostPorts:
    """The host ports among altnames; other names are skipped."""
    found, pod_ports = dict[HostPort, int](), dict[HostPort, int]()
    for name in names:
        host, arrow, target = name.partition(">")
        port = _host_port(host)
        if port and not arrow:
            found[port] = port.port
        elif port and _is_port(target):
            pod_ports[port] = int(target)
    return {port: pod_ports.get(port, same) for port, same in found.items()}


def _host_port(name: str) -> HostPort | None:
    protocol, _, rest = name.partition(":")
    address, _, port = rest.rpartition(":")
    if protocol not in PROTOCOLS or not _is_port(port):
        return None
    try:
        return HostPort(protocol, ip_address(address.strip("[]")), int(port))
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
