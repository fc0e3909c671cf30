# SPDX-License-Identifier: Apache-2.0
"""Host ports: the devices' altnames reserve them, the nftables table follows; what ADD, DEL and CHECK do about them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence

from podwire import sysctl
from podwire.attachments.altnames import HostPorts, host_port_altnames, leased_addresses, parse_host_ports
from podwire.attachments.identity import MADE_ALIAS, PREFIX, parse_alias
from podwire.cni.document import JsonObject
from podwire.cni.errors import FIREWALL, HOST_PORT_TAKEN, CniError, refusal_of_kernel
from podwire.hostports.config import PortMapping, desired_host_ports
from podwire.ip import Address, Network, single_address
from podwire.netlink import read
from podwire.netlink.apply import Indexes, apply
from podwire.netlink.conntrack import delete_udp_flows
from podwire.netlink.host import Host
from podwire.netlink.namespaces import open_own
from podwire.netlink.operations import AddAltname
from podwire.nft.apply import Firewall
from podwire.nft.hostports import Elements, Target, change_text, changed_ports, desired_elements, read_elements
from podwire.nft.library import NftablesError, table_exists
from podwire.nft.names import PORTS_TABLE as TABLE
from podwire.record import Record
from podwire.text import shown


def reserve(
    host: Host, device: str, mappings: Sequence[PortMapping], addresses: Sequence[Address], index_of: Indexes
) -> None:
    """ADD: reserve the host ports as altnames of the device. Raises CniError 7 or 108, KernelRefusedError."""
    names = host_port_altnames(desired_host_ports(mappings, addresses))
    for operation in apply(host.socket, [AddAltname(device, name) for name in names], index_of):
        assert isinstance(operation, AddAltname)
        raise _in_use(operation.altname, read.link(host.socket, operation.altname))


def may_have_ports(host: Host, device: str, mappings: Sequence[PortMapping]) -> bool:
    """DEL: may the attachment have host ports? Asked before its device is deleted. Raises NetlinkError.

    It costs one message if no pod of the host has any. A device that is deleted already may have had.
    """
    if mappings:
        return True
    if not table_exists(host.netfilter, TABLE):
        return False
    link = read.link(host.socket, device)
    return link is None or bool(host_ports(link))


def withdraw(host: Host, firewall: Firewall) -> None:
    """DEL: remove elements of devices that no longer exist. Raises CniError 11, 100 or 106."""
    try:
        sync(host, firewall)
    except NftablesError as refused:
        raise CniError(FIREWALL, f"host ports cannot be withdrawn: {refused}") from None
    except OSError as refused:
        raise refusal_of_kernel("host ports cannot be withdrawn", refused) from None


def difference(
    host: Host, firewall: Firewall, link: read.Link, mappings: Sequence[PortMapping], addresses: Sequence[Address]
) -> str:
    """CHECK: the first difference between the mappings and the kernel; "" if there is none."""
    reserved = parse_host_ports(link.altnames)
    for port, pod_port in desired_host_ports(mappings, addresses).items():
        if reserved.get(port) != pod_port:
            return f"host port {port.altname} does not belong to {link.name}"
    actual = read_elements(firewall.listing(f"table inet {TABLE}"))
    wanted = desired_elements(_targets(host, link, read.links(host.socket)))
    if any(actual[name].get(key) != value for name, content in wanted.items() for key, value in content.items()):
        return f"the firewall does not lead the host ports of {link.name} to the container"
    return ""


def host_ports(link: read.Link) -> HostPorts:
    """The host ports of a device; none if it is not an attachment's."""
    if not link.name.startswith(PREFIX) or link.kind != "veth" or parse_alias(link.alias) is None:
        return {}
    return parse_host_ports(link.altnames)


def sync(host: Host, firewall: Firewall, new_device: str = "") -> list[str]:
    """Make the table what the devices' altnames say; what was changed, as nft(8) commands.

    It deletes conntrack entries of UDP flows to every changed port. Raises CniError 108 if `new_device` has a port that
    overlaps another device's; NftablesError, NetlinkError, OSError.
    """
    lock = open_own()  # one writer at a time among all processes of this network namespace: the namespace is the lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        links = read.links(host.socket)
        _check_overlaps(links, new_device)
        targets = [target for link in links for target in _targets(host, link, links)]
        wanted, listing, text = _table_change(host, firewall, targets)
        if text:
            firewall.run(text)
        for path, value in _localnet_settings(links, targets):
            try:
                sysctl.ensure(path, value)
            except OSError:  # the device was deleted since it was read, or settings cannot be written
                continue
        if text:
            _delete_flows(host, changed_ports(wanted, read_elements(listing), "udp"))
    finally:
        os.close(lock)
    return _commands(text)


class Missing(Record):
    """What `sync` would change: nft(8) commands, settings (path, value); and the devices that have host ports."""

    changes: list[str]
    settings: list[tuple[str, str]]
    devices: frozenset[str]


def missing(host: Host, firewall: Firewall) -> Missing:
    """Read what `sync` would change. Raises NetlinkError, OSError."""
    links = read.links(host.socket)
    targets = [target for link in links for target in _targets(host, link, links)]
    _, _, text = _table_change(host, firewall, targets)
    localnet = _localnet_settings(links, targets)
    settings = [(path, value) for path, value in localnet if sysctl.read(path) not in (value, None)]
    return Missing(_commands(text), settings, frozenset(link.name for link in links if host_ports(link)))


def _table_change(host: Host, firewall: Firewall, targets: list[Target]) -> tuple[Elements, list[JsonObject], str]:
    """The desired elements, the listing of the table, and the nft(8) commands from one to the other."""
    wanted = desired_elements(targets)
    listing = firewall.listing(f"table inet {TABLE}") if table_exists(host.netfilter, TABLE) else []
    return wanted, listing, change_text(wanted, listing)


def _commands(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(("add element", "delete"))]


def _check_overlaps(links: list[read.Link], new_device: str) -> None:
    own_ports = next((host_ports(link) for link in links if link.name == new_device), {})
    for link in links if own_ports else []:
        for other in host_ports(link) if link.name != new_device else ():
            for port in own_ports:
                if port.overlaps(other):
                    raise _in_use(port.altname, link)


def _targets(host: Host, link: read.Link, links: Iterable[read.Link]) -> list[Target]:
    """Where a device's host ports lead: to its first address of the port's family."""
    found = []
    ports = host_ports(link)
    addresses = leased_addresses(link.altnames) if ports else []
    for version in {port.address.version for port in ports}:
        address = next((leased for leased in addresses if leased.version == version), None)
        if address is None:
            continue
        near: tuple[Network, ...] = (single_address(address),)
        if link.master:
            on_bridge = {interface.network for interface in read.addresses(host.socket, link.master, version)}
            near = tuple(sorted((network for network in on_bridge if address in network), key=str)) or near
        found += [
            Target(port, address, pod_port, near) for port, pod_port in ports.items() if port.address.version == version
        ]
    return found


def _localnet_settings(links: list[read.Link], targets: list[Target]) -> list[tuple[str, str]]:
    """The desired route_localnet: 1 on devices with host ports, so that 127.0.0.1 of the node leads to pods; else 0.

    The table guards the devices where it is 1. A bridge that podwire did not make is left as it is; a pod's own device
    takes the setting along. Where settings cannot be written, host ports work on all addresses except 127.0.0.1.
    """
    pods = {target.address for target in targets if target.address.version == 4}
    serving = [link for link in links if pods.intersection(leased_addresses(link.altnames))]
    bridges = {link.master for link in serving}
    values = {link.name: "1" for link in serving if not link.master}
    for link in links:
        if link.kind == "bridge" and link.alias.startswith(MADE_ALIAS):
            values[link.name] = "1" if link.index in bridges else "0"
    return [(f"net/ipv4/conf/{name}/route_localnet", value) for name, value in values.items()]


def _delete_flows(host: Host, ports: Iterable[tuple[Address | None, int, int]]) -> None:
    """Delete conntrack entries of UDP flows to these (address or None for all, IP version, port)."""
    local: dict[int, set[Address]] = {}
    for address, version, port in ports:
        if version not in local:
            local[version] = {interface.ip for _, interface in read.all_addresses(host.socket, version)}
        wanted = [own for own in local[version] if address in (None, own)]
        delete_udp_flows(host.netfilter, version, port, wanted)


def _in_use(name: str, link: read.Link | None) -> CniError:
    owner = parse_alias(link.alias) if link else None
    holder = "another device"
    if link:
        holder = f"device {link.name}"
    if owner:
        holder = f"{shown(owner.pod) + ', ' if owner.pod else ''}container {shown(owner.container_id, 64)}"
    return CniError(HOST_PORT_TAKEN, f"host port {name} is in use by {holder}: free it or choose another hostPort")
