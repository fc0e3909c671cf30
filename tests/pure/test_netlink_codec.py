# SPDX-License-Identifier: Apache-2.0
"""Messages against a second opinion: pyroute2 decodes what we encode, and every operation names its command."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from podwire.netlink import message as nl
from podwire.netlink import operations as op
from podwire.netlink.rtnl import encode


def index_of(name: str) -> int:
    return {"cni0": 7, "eth0": 2, "pwx": 9, "lo": 1}[name]


def decoded(kind: Any, operation: op.Operation) -> Any:
    found = kind(encode(operation, index_of, 33))
    found.decode()
    return found


@pytest.mark.failure_mode("MAC rewritten by udev")
def test_a_veth_is_created_with_both_ends() -> None:
    veth = op.AddVeth("pwx", "02:00:00:00:00:01", "eth0", "02:00:00:00:00:02", 1400, "cni0")
    message = decoded(ifinfmsg, veth)
    assert message.get_attr("IFLA_IFNAME") == "pwx" and message.get_attr("IFLA_MASTER") == 7
    assert message.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:01" and message.get_attr("IFLA_MTU") == 1400
    peer = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert peer.get_attr("IFLA_IFNAME") == "eth0" and peer.get_attr("IFLA_NET_NS_FD") == 33
    assert peer.get_attr("IFLA_ADDRESS") == "02:00:00:00:00:02" and peer.get_attr("IFLA_MTU") == 1400


def test_an_ipv6_address_asks_for_no_dad_and_an_ipv4_one_has_its_broadcast() -> None:
    six = decoded(ifaddrmsg, op.AddAddress("eth0", ip_interface("fd00::5/64")))
    assert six.get_attr("IFA_FLAGS") & 0x02 and six["prefixlen"] == 64 and six.get_attr("IFA_ADDRESS") == "fd00::5"
    four = decoded(ifaddrmsg, op.AddAddress("eth0", ip_interface("10.1.0.5/24")))
    assert four.get_attr("IFA_BROADCAST") == "10.1.0.255" and four.get_attr("IFA_LOCAL") == "10.1.0.5"
    alone = decoded(ifaddrmsg, op.AddAddress("eth0", ip_interface("10.1.0.5/32")))
    assert alone.get_attr("IFA_BROADCAST") is None


def test_routes_carry_our_protocol_and_what_the_result_may_say() -> None:
    host = decoded(rtmsg, op.AddRoute("pwx", ip_network("10.1.0.5/32"), link_scope=True))
    assert host["proto"] == 112 and host["scope"] == 253 and host["dst_len"] == 32 and host.get_attr("RTA_OIF") == 9
    rich = op.AddRoute(
        "eth0", ip_network("0.0.0.0/0"), ip_address("10.1.0.1"), mtu=1400, advmss=1300, metric=5, table=1000
    )
    message = decoded(rtmsg, rich)
    assert message.get_attr("RTA_GATEWAY") == "10.1.0.1" and message.get_attr("RTA_PRIORITY") == 5
    assert message.get_attr("RTA_TABLE") == 1000 and message["table"] == 0
    metrics = message.get_attr("RTA_METRICS")
    assert metrics.get_attr("RTAX_MTU") == 1400 and metrics.get_attr("RTAX_ADVMSS") == 1300


def test_a_neighbour_is_permanent() -> None:
    entry = decoded(ndmsg, op.AddNeighbour("pwx", ip_address("10.1.0.5"), "02:00:00:00:00:02"))
    assert entry["state"] == 0x80 and entry.get_attr("NDA_LLADDR") == "02:00:00:00:00:02"


@pytest.mark.parametrize(
    ("operation", "command"),
    [
        (op.SetUp("lo"), "ip link set lo up"),
        (op.AddAltname("pwx", "10.1.0.5"), "ip link property add dev pwx altname 10.1.0.5"),
        (op.SetAlias("pwx", "podwire n c eth0"), "ip link set pwx alias 'podwire n c eth0'"),
        (op.AddBridge("cni0", "02:00:00:00:00:01"), "ip link add cni0 address 02:00:00:00:00:01 type bridge"),
        (
            op.AddRoute("eth0", ip_network("::/0"), ip_address("fd00::1")),
            "ip -6 route add default via fd00::1 dev eth0 proto 112",
        ),
        (op.AddAddress("eth0", ip_interface("fd00::5/64")), "ip address add fd00::5/64 dev eth0 nodad"),
        (op.DeleteLink("pwx"), "ip link delete pwx"),
    ],
)
def test_an_operation_says_the_command_that_it_equals(operation: op.Operation, command: str) -> None:
    assert op.describe(operation) == command


def test_inside_the_pod_the_command_says_so() -> None:
    assert op.describe(op.SetUp("lo"), pod=True) == "ip -n POD link set lo up"


def test_damaged_messages_end_the_reading_and_nothing_else() -> None:
    whole = nl.message(16, 0, b"\0" * 16, nl.text(3, "eth0"))
    assert [kind for kind, *_ in nl.messages(whole)] == [16]
    for cut in range(len(whole)):
        list(nl.messages(whole[:cut]))
        nl.attributes(whole[:cut], 16)
    assert nl.attributes(b"\x00\x00\x03\x00") == {}
