# SPDX-License-Identifier: Apache-2.0
"""Address ranges of a configuration: `subnet`, `ranges`, `ipam.*` and `runtimeConfig.ipRanges`, as in host-local."""

from __future__ import annotations

from ipaddress import IPv4Network

from podwire.cni import fields as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import UNDECODABLE, CniError, invalid
from podwire.cni.result import parse_address, parse_network
from podwire.ip import Address, Network
from podwire.ipam.ranges import Range, RangeSet
from podwire.text import shown


def parse_ranges(raw: JsonObject, ipam: JsonObject, runtime: JsonObject) -> tuple[RangeSet, ...]:
    """The range sets, `ipRanges` first; every attachment gets an address of each. Raises CniError 6 or 7.

    `subnet` may name several ranges (`10.244.1.0/24,fd00:10:244:1::/64`): each is a set of its own.
    """
    sets = _sets(runtime, "ipRanges")
    for source in (ipam, raw):
        for subnet in take.listed(source, "subnet"):
            gateways = (text for text in take.listed(source, "gateway") if (":" in text) == (":" in subnet))
            sets.append(RangeSet((_range({**source, "subnet": subnet, "gateway": next(gateways, None)}),)))
        sets += _sets(source, "ranges")
    _check_overlap(sets)
    return tuple(sets)


def _sets(values: JsonObject, key: str) -> list[RangeSet]:
    listed = values.get(key.lower())
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(group, list) and group for group in listed):
        reason = 'is not a list of lists: write it like [[{"subnet": "10.244.1.0/24"}]]'
        raise CniError(UNDECODABLE, f"{key}={shown(listed)} {reason}")
    sets = []
    for group in listed:
        ranges = tuple(_range(entry) for entry in take.objects({key.lower(): group}, key))
        if len({item.subnet.version for item in ranges}) > 1:
            raise invalid(f"{key}={shown(group)} mixes families: put IPv4 and IPv6 into two lists")
        sets.append(RangeSet(ranges))
    return sets


def _range(values: JsonObject) -> Range:
    subnet = parse_network(values.get("subnet"), "subnet")
    given = str(values["subnet"]).partition("/")[0]
    if parse_address(given, "subnet") != subnet.network_address:
        raise invalid(f"subnet={shown(values['subnet'])} has host bits set: write {subnet}")
    if subnet.num_addresses < 4:
        raise invalid(f"subnet={subnet} is too small: it must hold a gateway and a pod, as a /30 does")
    low = int(subnet.network_address)
    high = low + subnet.num_addresses - 1 - isinstance(subnet, IPv4Network)
    gateway = _inside(values, "gateway", subnet) or subnet[1]
    start, end = _inside(values, "rangeStart", subnet), _inside(values, "rangeEnd", subnet)
    first = max(int(start), low + 1) if start else low + 1
    last = min(int(end), high) if end else high
    if first > last:
        raise invalid(f"rangeStart={start} lies behind rangeEnd={end}: exchange them")
    if first == last == int(gateway):
        raise invalid(f"the range {start} to {end} holds its gateway alone: make it larger")
    return Range(subnet, first, last, gateway)


def _inside(values: JsonObject, key: str, subnet: Network) -> Address | None:
    text = take.string(values, key)
    if not text:
        return None
    address = parse_address(text, key)
    if address not in subnet:
        raise invalid(f"{key}={address} is not in subnet {subnet}: choose one that is")
    return address


def _check_overlap(sets: list[RangeSet]) -> None:
    ranges = [item for range_set in sets for item in range_set.ranges]
    for number, first in enumerate(ranges):
        for second in ranges[number + 1 :]:
            same = first.subnet.version == second.subnet.version
            if same and first.first <= second.last and second.first <= first.last:
                raise invalid(f"ranges {first.subnet} and {second.subnet} overlap: give each its own")
