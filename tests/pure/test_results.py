# SPDX-License-Identifier: Apache-2.0
"""The result of ADD in every version's shape, read back, and chained."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from podwire.cni.errors import CniError
from podwire.cni.result import Result, ResultAddress, ResultInterface, ResultRoute, encode_result, parse_result
from podwire.cni.versions import SUPPORTED

RESULT = Result(
    [ResultInterface("pw0", "02:00:00:00:00:01", "", 1500), ResultInterface("eth0", "02:00:00:00:00:02", "/ns", 1500)],
    [
        ResultAddress(ip_interface("10.1.0.5/24"), ip_address("10.1.0.1"), 1),
        ResultAddress(ip_interface("10.2.0.5/24"), None, 1),
        ResultAddress(ip_interface("fd00::5/64"), ip_address("fd00::1"), 1),
    ],
    [ResultRoute(ip_network("0.0.0.0/0"), ip_address("10.1.0.1"), {"mtu": 1400, "priority": 10})],
    {"nameservers": ["10.96.0.10"]},
)


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_the_oldest_shape_has_one_address_a_family_and_no_interfaces(version: str) -> None:
    assert encode_result(RESULT, version) == {
        "cniVersion": version,
        "ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]},
        "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1"},
        "dns": {"nameservers": ["10.96.0.10"]},
    }


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0"])
def test_until_0_4_0_an_address_tells_its_family(version: str) -> None:
    answer = encode_result(RESULT, version)
    assert [ip["version"] for ip in answer["ips"]] == ["4", "4", "6"]
    assert "mtu" not in answer["interfaces"][0] and set(answer["routes"][0]) == {"dst", "gw"}


def test_from_1_0_0_the_family_is_gone_and_1_1_0_adds_mtu() -> None:
    assert "version" not in encode_result(RESULT, "1.0.0")["ips"][0]
    newest = encode_result(RESULT, "1.1.0")
    assert newest["interfaces"][1] == {"name": "eth0", "mac": "02:00:00:00:00:02", "mtu": 1500, "sandbox": "/ns"}
    assert newest["routes"] == [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400, "priority": 10}]


@pytest.mark.parametrize("version", SUPPORTED)
def test_what_is_written_can_be_read_back(version: str) -> None:
    answer = encode_result(RESULT, version)
    assert encode_result(parse_result(answer), version) == answer


def test_chaining_keeps_the_previous_result_and_shifts_ours() -> None:
    both = parse_result(encode_result(RESULT, "1.0.0")).joined(RESULT)
    assert [address.interface for address in both.addresses] == [1, 1, 1, 3, 3, 3]
    assert len(both.interfaces) == 4 and len(both.routes) == 1


@pytest.mark.parametrize(
    "raw",
    [
        [],
        "x",
        {"ips": 1},
        {"ips": [1]},
        {"ips": [{"address": 5}]},
        {"ips": [{"address": "10.0.0.1"}]},
        {"ips": [{"address": "10.0.0.1/255.255.255.0"}]},
        {"ips": [{"address": "fe80::1%eth0/64"}]},
        {"ips": [{"address": "10.0.0.1/24", "interface": "0"}]},
        {"routes": [{"dst": "nowhere/8"}]},
        {"interfaces": [{"name": 1}]},
        {"dns": []},
    ],
)
def test_a_wrong_shape_is_refused_by_name(raw: object) -> None:
    with pytest.raises(CniError) as refused:
        parse_result(raw)
    assert refused.value.code in (6, 7) and "prevResult" in refused.value.message
