"""What ADD, DEL and CHECK do about host ports."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.attachments.altnames import host_port_altnames, parse_host_ports
from podwire.attachments.identity import parse_alias
from podwire.cni.errors import FIREWALL, HOST_PORT_TAKEN, CniError, refusal_of_kernel
from podwire.hostports import table
from podwire.hostports.config import PortMapping, desired_host_ports
from podwire.ip import Address
from podwire.netlink import read
from podwire.netlink.apply import Indexes, apply
from podwire.netlink.host import Host
from podwire.netlink.operations import AddAltname
from podwire.netlink.read import Link
from podwire.nft.apply import Firewall
from podwire.nft.library import NftablesError, table_exists
from podwire.nft.names import PORTS_TABLE
from podwire.text import shown


def reserve(
    host: Host, device: str, mappings: Sequence[PortMapping], addresses: Sequence[Address], index_of: Indexes
) -> None:
    """ADD: reserve the host ports as altnames of the device. Raises CniError 7 or 108, KernelRefusedError."""
    names = host_port_altnames(desired_host_ports(mappings, addresses))
    for operation in apply(host.socket, [AddAltname(device, name) for name in names], index_of):
        assert isinstance(operation, AddAltname)
        raise _in_use(operation.altname, read.link(host.socket, operation.altname))


def publish(host: Host, firewall: Firewall, device: str) -> None:
    """ADD: lead the reserved host ports to the pod, and remove elements of devices that no longer exist.

    Raises CniError 108, NftablesError, NetlinkError, OSError.
    """
    try:
        table.sync(host, firewall, device)
    except table.PortTakenError as taken:
        raise _in_use(taken.port.altname, taken.link) from None


def may_have_ports(host: Host, device: str, mappings: Sequence[PortMapping]) -> bool:
    """DEL: may the attachment have host ports? Asked before its device is deleted. Raises NetlinkError.

    It costs one message to the kernel if no pod of the host has any. A device that is deleted already may have had.
    """
    if mappings:
        return True
    if not table_exists(host.netfilter, PORTS_TABLE):
        return False
    link = read.link(host.socket, device)
    return link is None or bool(table.host_ports(link))


def withdraw(host: Host, firewall: Firewall) -> None:
    """DEL: remove elements of devices that no longer exist. Raises CniError 11, 100 or 106."""
    try:
        table.sync(host, firewall)
    except NftablesError as refused:
        raise CniError(FIREWALL, f"host ports cannot be withdrawn: {refused}") from None
    except OSError as refused:
        raise refusal_of_kernel("host ports cannot be withdrawn", refused) from None


def difference(
    host: Host, firewall: Firewall, link: Link, mappings: Sequence[PortMapping], addresses: Sequence[Address]
) -> str:
    """CHECK: the first difference between the mappings and the kernel; "" if there is none."""
    actual = parse_host_ports(link.altnames)
    for port, pod_port in desired_host_ports(mappings, addresses).items():
        if actual.get(port) != pod_port:
            return f"host port {port.altname} does not belong to {link.name}"
    if not table.is_in_place(host, firewall, link):
        return f"the firewall does not lead the host ports of {link.name} to the container"
    return ""


def _in_use(name: str, link: Link | None) -> CniError:
    owner = parse_alias(link.alias) if link else None
    holder = "another device"
    if link:
        holder = f"device {link.name}"
    if owner:
        holder = f"{shown(owner.pod) + ', ' if owner.pod else ''}container {shown(owner.container_id, 64)}"
    return CniError(HOST_PORT_TAKEN, f"host port {name} is in use by {holder}: free it or choose another hostPort")
