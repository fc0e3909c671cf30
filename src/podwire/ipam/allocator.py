"""Leases in the kernel: an address is held by being an altname of the attachment's device."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from podwire.attachments.identity import parse_alias
from podwire.cni.errors import ADDRESS_TAKEN, INVALID_CONFIGURATION, RANGE_FULL, CniError
from podwire.cni.request import Request
from podwire.cni.result import parse_address
from podwire.datapath.wiring import PodAddress
from podwire.ip import Address
from podwire.ipam.ranges import RangeSet
from podwire.netlink import read
from podwire.netlink.apply import Indexes, apply
from podwire.netlink.operations import AddAltname, Operation
from podwire.plugin.config import Configuration
from podwire.plugin.host import Host

PROBES_BEFORE_DUMP = 8

Claims = dict[RangeSet, Address]
"""For each range set the address that an attachment shall have."""


def requested_addresses(request: Request, config: Configuration) -> Claims:
    """The addresses that the runtime asks for (`runtimeConfig.ips`, `args.cni.ips`, CNI_ARGS `IP`).

    Raises CniError 7 for one that no range holds.
    """
    found: Claims = {}
    asked = config.requested or request.args.get("IP", "").split(",")
    if config.ipam_type:
        return found
    for text in filter(None, asked):
        address = parse_address(text.partition("/")[0].strip(), "the requested IP")
        group = next((one for one in config.range_sets if one.range_of(address)), None)
        if group is None or group in found:
            ranges = ", ".join(str(one) for one in config.range_sets) or "no range at all"
            raise CniError(
                INVALID_CONFIGURATION, f"the requested IP {address} cannot be leased: ask for one of {ranges}"
            )
        found[group] = address
    return found


def claim(host: Host, config: Configuration, requested: Claims, gateway_alias: str) -> Claims:
    """The addresses to try first: what is asked for, else what comes behind the last lease."""
    return {group: requested.get(group) or host.shared.claim(group, gateway_alias) for group in config.range_sets}


def hold(
    host: Host, index_of: Indexes, device: str, claims: Claims, requested: Claims, taken: Iterable[Operation]
) -> Claims:
    """The addresses that are leased in the end, where those among `taken` (altnames) were somebody else's already.

    Raises CniError 102 where a range is full and 103 where a requested address is taken; KernelRefusedError.
    """
    wanted = {str(address): group for group, address in claims.items()}
    held = dict(claims)
    for one in taken:
        assert isinstance(one, AddAltname)
        group = wanted[one.altname]
        if group in requested:
            raise _taken(host, one.altname)
        held[group] = _next_free(host, device, group, claims[group], index_of)
        host.shared.claimed(group, held[group])
    return held


def _next_free(host: Host, device: str, group: RangeSet, claimed: Address, index_of: Indexes) -> Address:
    """The first free address behind `claimed`: by trying a few, then by looking at what is taken."""
    candidates = group.after(claimed)
    for address in islice(candidates, PROBES_BEFORE_DUMP):
        if not apply(host.socket, [AddAltname(device, str(address))], index_of):
            return address
    names = {name for link in read.links(host.socket) for name in link.altnames}
    for address in candidates:
        if str(address) not in names and not apply(host.socket, [AddAltname(device, str(address))], index_of):
            return address
    raise CniError(
        RANGE_FULL,
        f"{group} is full ({group.size} of {group.size} in use): free pods or give the node a larger podCIDR",
    )


def _taken(host: Host, address: str) -> CniError:
    link = read.link(host.socket, address)
    owner = parse_alias(link.alias) if link else None
    whose = f" by container {owner.container_id[:64]}" if owner else f" by device {link.name}" if link else ""
    return CniError(ADDRESS_TAKEN, f"the requested IP {address} is in use{whose}: ask for another or free it")


def as_pod_addresses(leases: Claims) -> list[PodAddress]:
    """Leases as addresses with their range's prefix and gateway."""
    found = []
    for group, address in leases.items():
        here = group.ranges[0] if len(group.ranges) == 1 else group.range_of(address)
        assert here is not None
        found.append(PodAddress(address, here.subnet.prefixlen, here.gateway))
    return found
