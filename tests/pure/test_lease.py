# SPDX-License-Identifier: Apache-2.0
"""Which address comes next: every one once, behind the last, and what the alias remembers."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from podwire.ipam.config import parse_ranges
from podwire.ipam.ranges import Range, RangeSet
from podwire.ipam.rotation import ALIAS_BYTES, around_last, read_last, write_last


def one_range(subnet: str, **keys: str) -> RangeSet:
    return parse_ranges({"ranges": [[{"subnet": subnet, **keys}]]}, {}, {})[0]


def test_a_24_has_253_addresses_without_network_gateway_and_broadcast() -> None:
    group = one_range("10.244.1.0/24")
    found = [str(address) for address in group.after(None)]
    assert len(found) == len(set(found)) == group.size == 253
    assert found[0] == "10.244.1.2" and found[-1] == "10.244.1.254"


def test_ipv6_leaves_out_the_subnet_router_anycast_and_the_gateway() -> None:
    group = one_range("fd00:10:244:1::/64")
    assert [str(address) for address in islice(group.after(None), 2)] == ["fd00:10:244:1::2", "fd00:10:244:1::3"]


def test_the_last_address_of_a_range_may_come_first() -> None:
    group = one_range("10.244.1.0/29")
    assert [str(address)[-1] for address in group.after(ip_address("10.244.1.6"))] == ["2", "3", "4", "5", "6"]
    assert [str(address)[-1] for address in group.after(ip_address("10.244.1.3"))] == ["4", "5", "6", "2", "3"]


def test_a_gateway_within_the_range_is_never_leased() -> None:
    group = one_range("10.244.1.0/29", gateway="10.244.1.4")
    assert [str(address)[-1] for address in group.after(None)] == ["1", "2", "3", "5", "6"]


def test_start_and_end_are_kept() -> None:
    group = one_range("10.244.1.0/24", rangeStart="10.244.1.10", rangeEnd="10.244.1.12")
    assert [str(address) for address in group.after(None)] == ["10.244.1.10", "10.244.1.11", "10.244.1.12"]


@given(st.integers(2, 254), st.integers(24, 30), st.booleans())
def test_every_address_comes_once_and_the_last_one_last(last: int, prefix: int, two: bool) -> None:
    subnet = ip_network(f"10.244.1.0/{prefix}")
    first = Range(subnet, int(subnet[1]), int(subnet[-2]), subnet[1])
    second = Range(ip_network("10.9.0.0/30"), int(ip_address("10.9.0.1")), int(ip_address("10.9.0.2")), subnet[1])
    group = RangeSet((first, second) if two else (first,))
    start = ip_address(f"10.244.1.{last}")
    order = list(group.after(start))
    assert group.first_after(start) == order[0]
    assert len(order) == len(set(order)) == len(list(group.after(None)))
    if group.range_of(start):
        assert order[-1] == start


def noted(alias: str, leased: dict[RangeSet, str]) -> str | None:
    """The alias with these leases in it, None where it is somebody else's."""
    around = around_last(alias, leased)
    return write_last(around, map(ip_address, leased.values())) if around else None


def test_the_alias_remembers_the_last_lease_of_each_range() -> None:
    four, six = one_range("10.244.1.0/24"), one_range("fd00:10:244:1::/64")
    alias = noted("podwire made", {four: "10.244.1.7", six: "fd00:10:244:1::7"}) or ""
    assert alias == "podwire made last-lease 10.244.1.7 fd00:10:244:1::7"
    assert read_last(alias, four) == ip_address("10.244.1.7")
    assert read_last(alias, six) == ip_address("fd00:10:244:1::7")
    again = noted(alias, {four: "10.244.1.8"})
    assert again == "podwire made last-lease 10.244.1.8 fd00:10:244:1::7"


def test_an_alias_of_somebody_else_is_left_alone() -> None:
    group = one_range("10.244.1.0/24")
    assert noted("the uplink to rack 7", {group: "10.244.1.7"}) is None
    assert read_last("the uplink to rack 7 last-lease 10.244.1.9", group) is None
    assert noted("", {group: "10.244.1.7"}) == "podwire last-lease 10.244.1.7"


def test_the_alias_stays_within_its_bytes() -> None:
    alias = "podwire made"
    for number in range(60):
        group = one_range(f"10.{number}.0.0/24")
        alias = noted(alias, {group: f"10.{number}.0.77"}) or ""
        assert len(alias) <= ALIAS_BYTES
        assert read_last(alias, group) == ip_address(f"10.{number}.0.77")
    assert "10.59.0.77" in alias and "10.0.0.77" not in alias
