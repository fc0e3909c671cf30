"""Host ports of an attachment: each is an altname of the host's device, as a lease is.

`tcp:0.0.0.0:8080` as an altname means that the host's port 8080, on every IPv4 address, belongs to this device:
the kernel refuses it to a second one and frees it with the device. Where the pod's port is another, a second
altname tells it: `tcp:0.0.0.0:8080>80`. So what the firewall must hold follows from the devices alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from podwire.cni.errors import INVALID_CONFIGURATION, CniError
from podwire.hostports.config import PROTOCOLS, PortMapping
from podwire.ip import Address
from podwire.record import Record

ANY: dict[int, Address] = {4: IPv4Address(0), 6: IPv6Address(0)}


class HostPort(Record):
    """A port of the host; the unspecified address (0.0.0.0, ::) is every address of its family."""

    protocol: str
    address: Address
    port: int

    @property
    def altname(self) -> str:
        """`tcp:10.0.0.1:8080`, `udp:[::]:53`."""
        spelled = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{self.protocol}:{spelled}:{self.port}"

    def overlaps(self, other: HostPort) -> bool:
        """Would a packet to one of them be for the other as well?"""
        same = (self.protocol, self.port, self.address.version) == (other.protocol, other.port, other.address.version)
        anywhere = self.address.is_unspecified or other.address.is_unspecified
        return same and (anywhere or self.address == other.address)


Claims = dict[HostPort, int]
"""The host's ports that an attachment has, each with the port of the pod that it leads to."""


def claims(mappings: Iterable[PortMapping], addresses: Sequence[Address]) -> Claims:
    """What mappings mean for a pod with these addresses: one host port for each family that fits.

    Raises CniError 7 where none fits, or where two mappings want one host port.
    """
    families = {one.version for one in addresses}
    found: Claims = {}
    for mapping in mappings:
        wanted = [mapping.host_ip] if mapping.host_ip else list(ANY.values())
        fitting = [one for one in wanted if one.version in families]
        if not fitting:
            raise CniError(
                INVALID_CONFIGURATION,
                f"hostPort {mapping.host_port}: the pod has no address of the family of hostIP={mapping.host_ip}: "
                "choose a hostIP of the pod's family",
            )
        for address in fitting:
            if address == IPv6Address("::1"):
                raise CniError(
                    INVALID_CONFIGURATION,
                    f"hostPort {mapping.host_port}: Linux does not forward what comes from ::1: choose another hostIP",
                )
            port = HostPort(mapping.protocol, address, mapping.host_port)
            if any(one.overlaps(port) for one in found):
                raise CniError(
                    INVALID_CONFIGURATION,
                    f"portMappings: hostPort {mapping.host_port}/{mapping.protocol} is mapped twice: remove one",
                )
            found[port] = mapping.container_port
    return found


def altnames(wanted: Claims) -> list[str]:
    """The altnames that say so; those that hold a host port come first, and are what can be taken already."""
    different = [f"{port.altname}>{inside}" for port, inside in wanted.items() if port.port != inside]
    return [*(port.altname for port in wanted), *different]


def parse_altnames(names: Iterable[str]) -> Claims:
    """The host ports that a device's altnames tell; other names are skipped."""
    found: Claims = {}
    inside: Claims = {}
    for name in names:
        claim, arrow, target = name.partition(">")
        port = _host_port(claim)
        if port is None:
            continue
        if not arrow:
            found[port] = port.port
        elif _is_port(target):
            inside[port] = int(target)
    return {port: inside.get(port, same) for port, same in found.items()}


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
