# SPDX-License-Identifier: Apache-2.0
"""Host ports as data: what runtimes send, the altnames that hold them, the table that follows from them."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.attachments.altnames import HostPort, host_port_altnames, parse_host_ports
from podwire.cni.errors import CniError
from podwire.hostports.config import PortMapping, desired_host_ports, port_mappings
from podwire.nft import hostports as table
from podwire.nft.hostports import Target
from podwire.nft.masquerade import desired_masquerade
from podwire.nft.names import PORTS_TABLE
from podwire.plugin.config import parse_configuration

FOUR, SIX = ip_address("10.244.1.2"), ip_address("fd00:10:244:1::2")


def parsed(*mappings: dict[str, Any]) -> tuple[PortMapping, ...]:
    config = {"cniVersion": "1.0.0", "name": "n", "type": "podwire", "subnet": "10.244.1.0/24"}
    text = json.dumps({**config, "runtimeConfig": {"portMappings": mappings}})
    return parse_configuration(text.encode()).port_mappings


def test_keys_and_protocols_come_in_any_case() -> None:
    plain = parsed({"hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "10.0.0.1"})
    go = parsed({"HostPort": 8080, "ContainerPort": 80, "Protocol": "UDP", "HostIP": "10.0.0.1"})
    assert plain == go == (PortMapping("udp", 8080, 80, ip_address("10.0.0.1")),)
    assert parsed({"hostPort": 1, "containerPort": 2, "hostIP": ""})[0] == PortMapping("tcp", 1, 2, None)


def test_a_mapping_without_host_port_maps_nothing_and_a_repeated_one_counts_once() -> None:
    one = {"hostPort": 81, "containerPort": 80}
    assert parsed({"hostPort": 0, "containerPort": 80}, one, one) == (PortMapping("tcp", 81, 80),)
    assert parsed() == ()


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ({"hostPort": 65536, "containerPort": 80}, 7),
        ({"hostPort": -1, "containerPort": 80}, 7),
        ({"hostPort": 80}, 7),
        ({"hostPort": "80", "containerPort": 80}, 6),
        ({"hostPort": 80, "containerPort": 80, "protocol": "icmp"}, 7),
        ({"hostPort": 80, "containerPort": 80, "hostIP": "localhost"}, 7),
        ({"hostPort": 80, "containerPort": 80, "hostIP": "fe80::1%eth0"}, 7),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(mapping: dict[str, Any], code: int) -> None:
    with pytest.raises(CniError) as refused:
        parsed(mapping)
    assert refused.value.code == code
    assert any(key in refused.value.message for key in (*mapping, "containerPort"))


def test_without_host_ip_every_family_of_the_pod_is_served() -> None:
    mappings = port_mappings({"portmappings": [{"hostPort": 80, "containerPort": 80}]})
    assert [port.altname for port in desired_host_ports(mappings, [FOUR, SIX])] == ["tcp:0.0.0.0:80", "tcp:[::]:80"]
    assert [port.altname for port in desired_host_ports(mappings, [SIX])] == ["tcp:[::]:80"]


@pytest.mark.parametrize("host_ip", ["10.0.0.1", "0.0.0.0"])
def test_a_host_ip_of_a_family_that_the_pod_lacks_is_refused(host_ip: str) -> None:
    with pytest.raises(CniError, match="hostIP"):
        desired_host_ports([PortMapping("tcp", 80, 80, ip_address(host_ip))], [SIX])


def test_one_pod_cannot_map_a_host_port_twice() -> None:
    with pytest.raises(CniError, match="80/tcp is mapped twice"):
        desired_host_ports([PortMapping("tcp", 80, 80), PortMapping("tcp", 80, 81, ip_address("10.0.0.1"))], [FOUR])
    both = [PortMapping("tcp", 80, 80), PortMapping("udp", 80, 81)]
    assert len(desired_host_ports(both, [FOUR])) == 2


def test_ports_overlap_only_within_protocol_family_and_address() -> None:
    anywhere, here = HostPort("tcp", ip_address("0.0.0.0"), 80), HostPort("tcp", ip_address("10.0.0.1"), 80)
    there = HostPort("tcp", ip_address("10.0.0.2"), 80)
    assert anywhere.overlaps(here) and here.overlaps(anywhere) and not here.overlaps(there)
    assert not anywhere.overlaps(HostPort("udp", anywhere.address, 80))
    assert not anywhere.overlaps(HostPort("tcp", ip_address("::"), 80))
    assert not anywhere.overlaps(HostPort("tcp", anywhere.address, 81))


def test_altnames_tell_what_was_reserved() -> None:
    mappings = [
        PortMapping("tcp", 8080, 80),
        PortMapping("udp", 53, 53, ip_address("fd00::1")),
        PortMapping("sctp", 9, 10, ip_address("10.0.0.1")),
    ]
    wanted = desired_host_ports(mappings, [FOUR, SIX])
    names = host_port_altnames(wanted)
    assert "udp:[fd00::1]:53" in names and "sctp:10.0.0.1:9>10" in names
    assert all(len(name.encode()) < 128 for name in names)
    assert parse_host_ports([*names, "10.244.1.2", "fd00::2", "eth7", "tcp:x:y", "tcp:0.0.0.0:80>", "a>b"]) == wanted


def elements() -> table.Elements:
    anywhere = Target(HostPort("tcp", ip_address("0.0.0.0"), 8080), FOUR, 80, (ip_network("10.244.1.2/32"),))
    here = Target(HostPort("sctp", ip_address("fd00::1"), 9), SIX, 10, (ip_network("fd00:10:244:1::/64"),))
    return table.desired_elements([anywhere, here])


def test_the_table_leads_ports_to_pods() -> None:
    wanted = elements()
    assert wanted["any4"] == {"6 . 8080": "10.244.1.2 . 80"}
    assert wanted["at6"] == {"132 . fd00::1 . 9": "fd00:10:244:1::2 . 10"}
    assert wanted["back4"] == {"10.244.1.2 . 10.244.1.2": ""}
    assert wanted["back6"] == {"fd00:10:244:1::/64 . fd00:10:244:1::2": ""}
    text = table.change_text(wanted, [])
    assert text.startswith("table inet podwire-ports\ndelete table inet podwire-ports\n")
    assert "add element inet podwire-ports any4 { 6 . 8080 : 10.244.1.2 . 80 }" in text


def listing(text: str) -> list[dict[str, Any]]:
    """What `nft -j list table` prints of a whole table's text, as far as we read it."""
    found: list[dict[str, Any]] = []
    chain = ""
    for line in text.splitlines()[2:]:
        words = line.split()
        if words[:1] == ["chain"]:
            chain = words[1]
            found.append({"chain": {"name": chain, **({"hook": "h"} if table.HOOKS[chain] else {})}})
        elif words[:1] in (["map"], ["set"]):
            found.append({words[0]: {"name": words[1], **({"map": "x"} if words[0] == "map" else {})}})
        elif "comment" in line:
            found.append({"rule": {"chain": chain, "comment": line.split('"')[-2]}})
    return found


def filled(wanted: table.Elements) -> list[dict[str, Any]]:
    rows = listing(table.table_text(wanted))
    for row in rows:
        entry = row.get("map") or row.get("set")
        if entry:
            pairs = wanted[entry["name"]].items()
            entry["elem"] = [[concat(key), concat(value)] if value else concat(key) for key, value in pairs]
    return rows


def concat(text: str) -> dict[str, Any]:
    def part(word: str) -> Any:
        if "/" in word:
            address, length = word.split("/")
            return {"prefix": {"addr": address, "len": int(length)}}
        return int(word) if word.isdigit() else word

    first, *rest = text.split(" . ")
    names = {"6": "tcp", "17": "udp", "132": "sctp"}
    return {"concat": [names[first] if first in names else part(first), *(part(word) for word in rest)]}


def test_only_the_difference_is_written() -> None:
    wanted = elements()
    assert table.is_intact(filled(wanted)) and table.read_elements(filled(wanted)) == wanted
    assert table.change_text(wanted, filled(wanted)) == ""
    moved = {**wanted, "any4": {"6 . 8080": "10.244.1.9 . 80"}}
    assert table.change_text(moved, filled(wanted)) == (
        "delete element inet podwire-ports any4 { 6 . 8080 }\n"
        "add element inet podwire-ports any4 { 6 . 8080 : 10.244.1.9 . 80 }\n"
    )
    assert table.changed_ports(moved, wanted, "tcp") == [(None, 4, 8080)]
    assert table.changed_ports(moved, wanted, "udp") == []


def test_a_damaged_table_is_written_anew_and_an_empty_one_goes() -> None:
    wanted = elements()
    damaged = [row for row in filled(wanted) if row.get("rule", {}).get("chain") != "guard"]
    assert table.change_text(wanted, damaged) == table.table_text(wanted)
    nothing = table.desired_elements([])
    assert table.change_text(nothing, []) == ""
    assert table.change_text(nothing, filled(wanted)).splitlines()[-1] == "delete table inet podwire-ports"


def test_no_network_can_have_that_table_for_its_own() -> None:
    ranges = [ip_network("10.244.1.0/24")]
    assert desired_masquerade("net", ranges, ranges, own_ranges=True).table == "podwire-net"
    assert desired_masquerade("ports", ranges, ranges, own_ranges=True).table != PORTS_TABLE


SHAPES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["tcp", "dccp", "10.0.0.1", "80"]),
    lambda part: (
        st.lists(part, max_size=3)
        | st.dictionaries(st.sampled_from(["prefix", "addr", "len", "range", "set"]), part, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(SHAPES, min_size=2, max_size=4), SHAPES)
def test_elements_of_any_shape_are_read_and_what_is_unknown_is_replaced(parts: list[Any], value: Any) -> None:
    """Of a map as nft lists it. A second protocol is no element of podwire's."""
    wanted = elements()
    there = filled(wanted)
    (any4,) = (entry["map"] for entry in there if entry.get("map", {}).get("name") == "any4")
    any4["elem"] = [*any4.get("elem", []), [{"concat": ["dccp", *parts]}, value]]
    assert table.is_intact(there)
    assert table.change_text(wanted, there) == table.table_text(wanted)
    assert table.changed_ports(wanted, table.read_elements(there), "udp") == []
