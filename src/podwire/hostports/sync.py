"""Keeps the table of host ports as the devices' altnames want it: read both, compare, write the difference."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from podwire import sysctl
from podwire.attachments.altnames import leased_addresses
from podwire.attachments.identity import PREFIX, parse_alias
from podwire.datapath.gateway import CREATED
from podwire.hostports.altnames import Claims, HostPort, parse_altnames
from podwire.ip import Address, Network, single_address
from podwire.netlink import read
from podwire.netlink.conntrack import delete_udp_flows
from podwire.netlink.namespaces import open_own
from podwire.netlink.read import Link
from podwire.nft.hostports import Target, change_text, changed_ports, desired_elements, read_elements
from podwire.nft.library import table_exists
from podwire.nft.names import PORTS_TABLE as TABLE
from podwire.plugin.host import Host
from podwire.record import Record


class PortTakenError(Exception):
    """Another living device has the host port: which port, and whose device."""

    def __init__(self, port: HostPort, link: Link) -> None:
        super().__init__(port.altname)
        self.port = port
        self.link = link


@contextmanager
def exclusive() -> Iterator[None]:
    """One writer at a time, of all threads and processes of this network namespace: the lock is on the namespace."""
    descriptor = open_own()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def claimed(link: Link) -> Claims:
    """The host ports of a device; none where it is no attachment's."""
    if not link.name.startswith(PREFIX) or link.kind != "veth" or parse_alias(link.alias) is None:
        return {}
    return parse_altnames(link.altnames)


class Synced(Record):
    """What was changed, as nft(8) commands, and the devices that have host ports."""

    changes: list[str]
    holders: frozenset[str]


def sync(host: Host, newcomer: str = "") -> Synced:
    """Make the table follow from the devices; no changes where all was so already.

    Elements of devices that are gone go, those of living ones are there afterwards, and UDP flows of every changed
    port are forgotten. Raises PortTakenError if the device `newcomer` has a port that overlaps another device's;
    NftablesError, NetlinkError, OSError.
    """
    with exclusive():
        links = read.links(host.socket)
        _check_overlaps(links, newcomer)
        found = [target for link in links for target in _targets(host, link, links)]
        wanted = desired_elements(found)
        firewall = host.shared.firewall
        listing = firewall.listing(f"table inet {TABLE}") if table_exists(host.netfilter, TABLE) else []
        text = change_text(wanted, listing)
        if text:
            firewall.run(text)
        _route_localhost(links, found)
        if text:
            _forget(host, changed_ports(wanted, read_elements(listing), "udp"))
    changes = [line for line in text.splitlines() if line.startswith(("add element", "delete"))]
    return Synced(changes, frozenset(link.name for link in links if claimed(link)))


def in_place(host: Host, link: Link) -> bool:
    """Does the table hold all that follows from this device?"""
    there = read_elements(host.shared.firewall.listing(f"table inet {TABLE}"))
    wanted = desired_elements(_targets(host, link, read.links(host.socket)))
    return all(there[name].get(key) == value for name, content in wanted.items() for key, value in content.items())


def _check_overlaps(links: list[Link], newcomer: str) -> None:
    mine = next((claimed(link) for link in links if link.name == newcomer), {})
    for link in links if mine else []:
        for theirs in claimed(link) if link.name != newcomer else ():
            for port in mine:
                if port.overlaps(theirs):
                    raise PortTakenError(port, link)


def _targets(host: Host, link: Link, links: Iterable[Link]) -> list[Target]:
    """Where a device's host ports lead: to its first address of the port's family."""
    found = []
    ports = claimed(link)
    addresses = leased_addresses(link.altnames) if ports else []
    for version in {port.address.version for port in ports}:
        address = next((one for one in addresses if one.version == version), None)
        if address is None:
            continue
        near: tuple[Network, ...] = (single_address(address),)
        if link.master:
            on_bridge = {one.network for one in read.addresses(host.socket, link.master, version)}
            near = tuple(sorted((one for one in on_bridge if address in one), key=str)) or near
        found += [
            Target(port, address, inside, near) for port, inside in ports.items() if port.address.version == version
        ]
    return found


def _route_localhost(links: list[Link], targets: list[Target]) -> None:
    """Let 127.0.0.1 of the node lead to pods (route_localnet), where a table of ours guards it; else not.

    A bridge that somebody else made is left as it is. The setting of a pod's own device goes with the device. Where
    settings cannot be written, as in some containers, host ports work by all addresses but that one.
    """
    pods = {one.address for one in targets if one.address.version == 4}
    serving = [link for link in links if pods.intersection(leased_addresses(link.altnames))]
    bridges = {link.master for link in serving}
    for link in serving:
        if not link.master:
            _set_localnet(link, "1")
    for link in links:
        if link.kind == "bridge" and link.alias.startswith(CREATED):
            _set_localnet(link, "1" if link.index in bridges else "0")


def _set_localnet(link: Link, value: str) -> None:
    with suppress(OSError):  # the device may be gone by now, as well
        sysctl.ensure(f"net/ipv4/conf/{link.name}/route_localnet", value)


def _forget(host: Host, ports: Iterable[tuple[Address | None, int, int]]) -> None:
    local: dict[int, set[Address]] = {}
    for address, version, port in ports:
        if version not in local:
            local[version] = {one.ip for _, one in read.all_addresses(host.socket, version)}
        wanted = [one for one in local[version] if address in (None, one)]
        delete_udp_flows(host.netfilter, version, port, wanted)
