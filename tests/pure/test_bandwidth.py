# SPDX-License-Identifier: Apache-2.0
"""Rates as data: what runtimes send, the token buckets made of it, and their messages as pyroute2 reads them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from podwire.attachments.identity import Attachment, device_of_egress, egress_device
from podwire.bandwidth.config import Bandwidth, Rate
from podwire.bandwidth.steps import bucket, egress_operations
from podwire.cni.errors import CniError
from podwire.netlink import operations as op
from podwire.netlink import tc_operations as shaping
from podwire.netlink.rtnl import encode
from podwire.plugin.config import parse_configuration

DEVICE = "pwabcdefghijklm"
THROUGH = "piabcdefghijklm"


def parsed(**rates: Any) -> Bandwidth | None:
    config = {"cniVersion": "1.0.0", "name": "n", "type": "podwire", "subnet": "10.244.1.0/24"}
    return parse_configuration(json.dumps({**config, "runtimeConfig": {"bandwidth": rates}}).encode()).bandwidth


def test_rates_come_in_bits_and_in_any_case() -> None:
    assert parsed(ingressRate=8000, ingressBurst=800) == Bandwidth(Rate(8000, 800), None)
    assert parsed(IngressRate=0, EgressRate=16, EgressBurst=0) == Bandwidth(None, Rate(16, 0))
    assert parsed(ingressRate=0, egressRate=0, ingressBurst=0, egressBurst=0) is None
    assert parsed() is None


@pytest.mark.parametrize(
    ("rates", "code"),
    [
        ({"ingressRate": -1}, 7),
        ({"ingressRate": 7}, 7),
        ({"ingressBurst": 8}, 7),
        ({"egressRate": 8, "egressBurst": 2**40}, 7),
        ({"egressRate": 2**63}, 7),
        ({"egressRate": "1M"}, 6),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(rates: dict[str, Any], code: int) -> None:
    with pytest.raises(CniError) as refused:
        parsed(**rates)
    assert refused.value.code == code
    assert any(key in refused.value.message for key in rates)


def test_the_largest_burst_that_kubernetes_sends_fits() -> None:
    limits = parsed(ingressRate=10**12, ingressBurst=2**32 - 1)
    assert limits and limits.ingress
    one = bucket(DEVICE, limits.ingress, 1500)
    assert one.rate_bytes == 125 * 10**9 and one.burst_bytes == (2**32 - 1) // 8
    assert struct.pack("=HHQ", 12, 4, 125 * 10**9) in encode(one, index_of), "TCA_TBF_RATE64"


def test_a_bucket_holds_a_whole_packet_and_has_a_burst_of_its_own() -> None:
    assert bucket(DEVICE, Rate(1000, 1000), 9000).burst_bytes > 9000
    assert bucket(DEVICE, Rate(80_000_000, 0), 1500).burst_bytes == 1_000_000
    assert bucket(DEVICE, Rate(8000, 0), 1500).burst_bytes == 64 * 1024
    one = bucket(DEVICE, Rate(8_000_000, 800_000), 1500)
    assert (one.rate_bytes, one.burst_bytes, one.limit_bytes) == (1_000_000, 100_000, 125_000)


def test_the_egress_device_is_named_after_the_attachments() -> None:
    device = Attachment("net", "box", "eth0").device
    assert egress_device(device) == "pi" + device[2:] and device_of_egress(egress_device(device)) == device


def index_of(name: str) -> int:
    return {DEVICE: 9, THROUGH: 10}[name]


def decoded(kind: Any, operation: op.Operation) -> Any:
    found = kind(encode(operation, index_of))
    found.decode()
    return found


def test_a_token_bucket_as_a_message() -> None:
    message = decoded(tcmsg, shaping.SetTokenBucket(DEVICE, 1_000_000, 100_000, 125_000))
    assert (message["index"], message["parent"], message["handle"]) == (9, 0xFFFFFFFF, 0x10000)
    assert message.get_attr("TCA_KIND") == "tbf"
    parameters = message.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
    assert (parameters["rate"], parameters["limit"]) == (1_000_000, 125_000)


def test_a_redirect_as_a_message() -> None:
    message = decoded(tcmsg, shaping.AddRedirect(DEVICE, THROUGH))
    assert (message["index"], message["parent"], message.get_attr("TCA_KIND")) == (9, 0xFFFF0000, "u32")
    options = message.get_attr("TCA_OPTIONS")
    keys = options.get_attr("TCA_U32_SEL")["keys"]
    assert [(key["key_mask"], key["key_val"]) for key in keys] == [(0, 0)]
    action = options.get_attr("TCA_U32_ACT").get_attr("TCA_ACT_PRIO_1")
    mirred = action.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
    assert (action.get_attr("TCA_ACT_KIND"), mirred["ifindex"], mirred["eaction"]) == ("mirred", 10, 1)


def test_the_other_messages() -> None:
    ingress = decoded(tcmsg, shaping.AddIngress(DEVICE))
    assert (ingress["parent"], ingress.get_attr("TCA_KIND")) == (0xFFFFFFF1, "ingress")
    ifb = decoded(ifinfmsg, shaping.AddIfb(THROUGH, 1400))
    assert ifb.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "ifb"
    assert (ifb.get_attr("IFLA_IFNAME"), ifb.get_attr("IFLA_MTU")) == (THROUGH, 1400)


def test_each_says_the_command_that_it_equals() -> None:
    whole = egress_operations(DEVICE, Rate(8_000_000, 800_000), 1500, "podwire n c eth0 now", addrgenmode_none=False)
    assert [op.describe(entry) for entry in whole] == [
        f"ip link set {THROUGH} alias 'podwire n c eth0 now'",
        f"tc qdisc replace dev {THROUGH} root handle 1: tbf rate 1000000bps burst 100000b limit 125000b",
        f"ip link set {THROUGH} up",
        f"tc qdisc add dev {DEVICE} handle ffff: ingress",
        f"tc filter add dev {DEVICE} parent ffff: protocol all prio 1 u32 match u32 0 0 "
        f"action mirred egress redirect dev {THROUGH}",
    ]
    assert op.describe(shaping.AddIfb(THROUGH, 1500)).endswith("type ifb")
