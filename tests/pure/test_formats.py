# SPDX-License-Identifier: Apache-2.0
"""A filled template equals, byte for byte, the encoded messages of the pod."""

from __future__ import annotations

import json
from _socket import inet_ntop
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from podwire.attachments.identity import Attachment, pod_mac
from podwire.datapath import wiring as wire
from podwire.datapath.wiring import Wiring
from podwire.ipam.ranges import PodAddress
from podwire.netlink.message import PADDING, padded
from podwire.netlink.read import Link
from podwire.netlink.rtnl import ALIAS_LENGTHS, encode
from podwire.plugin.config import Configuration, parse_configuration
from podwire.plugin.template import samples
from podwire.plugin.template.add import EMBEDDED_IPV4_END, FAMILIES, is_common
from podwire.plugin.template.derive import TemplateError, derive_template
from podwire.plugin.template.samples import Shape

INDEX, NETNS = 77, 11
GATEWAY = Link(5, "cni0", 0, 0, "02:00:00:00:00:07", 0, "", "", ())
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@st.composite
def subnets(draw: st.DrawFn, version: int) -> IPv4Network | IPv6Network:
    bits = 32 if version == 4 else 128
    length = draw(st.integers(8, bits - 2))
    first = draw(st.integers(0, 2**bits - 1)) >> (bits - length) << (bits - length)
    return (IPv4Network if version == 4 else IPv6Network)((first, length))


@st.composite
def wirings(draw: st.DrawFn) -> tuple[Configuration, list[Wiring]]:
    """A configuration and two pods of its network, whose wirings have the same shape."""
    families = draw(st.sampled_from([(4,), (6,), (4, 6)]))
    ranges = [draw(subnets(version)) for version in families]
    text = {
        "cniVersion": draw(st.sampled_from(["0.2.0", "0.4.0", "1.0.0", "1.1.0"])),
        "name": "net",
        "mode": draw(st.sampled_from(["routed", "bridge"])),
        "subnet": ",".join(map(str, ranges)),
        "hairpinMode": draw(st.booleans()),
        "isDefaultGateway": draw(st.booleans()),
    }
    config = parse_configuration(json.dumps(text).encode())
    ifname = draw(st.sampled_from(["eth0", "e%d", "net-1234567890x"]))
    note = draw(st.sampled_from(["", "podwire made last-lease 10.0.0.1"]))
    pod_name = draw(st.text(LETTERS, min_size=1, max_size=40))
    pods = []
    for container in ("one", "other"):
        attachment = Attachment("net", container + draw(st.text(LETTERS, max_size=9)), ifname, f"default/{pod_name}")
        addresses = []
        for range_ in ranges:
            host = draw(st.integers(2, range_.num_addresses - 2))
            addresses.append(PodAddress(range_[host], range_.prefixlen, range_[1]))
        mac, since = pod_mac(addresses[0].ip, attachment.device), "2026-11-24T21:12:05Z"
        sandbox = draw(st.sampled_from(["/run/netns/x", '/run/netns/"ü%s'])) + container
        alias = attachment.alias(since)
        routes = wire.configured_routes(config.routes, addresses, default=config.is_default_gateway)
        pods.append(Wiring(attachment, config.datapath, mac, sandbox, addresses, routes, INDEX, alias, True, note))
    return config, pods


def encoded(plan: samples.Plan, pod: Wiring) -> bytes:
    """The plan's messages one after the other, without sequence numbers and the last one's wish for an answer."""
    index = {pod.device: INDEX, pod.ifname: pod.pod_index, "lo": 1}
    messages = [encode(entry, lambda name: index.get(name, GATEWAY.index), NETNS) for entry in plan(pod)]
    return b"".join(message + PADDING[len(message) & 3] for message in messages)


def unnumbered(batch: bytes) -> bytes:
    """A batch without its sequence numbers and that wish."""
    out, at, start = bytearray(batch), 0, 0
    while at < len(out):
        start, length = at, int.from_bytes(out[at : at + 4], "little")
        out[at + 8 : at + 12] = bytes(4)
        assert length
        at += (length + 3) & ~3
    out[start + 6] &= ~4
    return bytes(out)


def shape_of(config: Configuration, pod: Wiring) -> Shape:
    alias, note = (len(padded(text, *ALIAS_LENGTHS)) if text else 0 for text in (pod.alias, pod.note))
    return Shape(config, pod.ifname, tuple(pod.addresses), alias, note, pod.addrgenmode_none)


@settings(max_examples=60)
@given(wirings())
def test_filled_templates_are_the_encoded_messages_and_the_answer(drawn: tuple[Configuration, list[Wiring]]) -> None:
    config, (one, other) = drawn
    assume(shape_of(config, one).alias_bytes == shape_of(config, other).alias_bytes)
    templates, values = samples.templates(shape_of(config, one)), samples.values_of(other, GATEWAY, NETNS)
    for plan, message in ((wire.all_host_operations, templates.host), (wire.pod_operations, templates.pod)):
        filled_in = message.template.fill((bytes([7, 0, 0]), *values))
        assert unnumbered(filled_in) == encoded(plan, other)
        assert filled_in[8:12] == bytes([0, 7, 0, 0])
    assert templates.answer.fill(values) == config.answer(wire.result(other, GATEWAY.mac, config.dns))


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda one: int(one) >= EMBEDDED_IPV4_END))
def test_the_c_library_spells_addresses_as_python_does(address: IPv4Address | IPv6Address) -> None:
    family, size = FAMILIES[address.version]
    assert inet_ntop(family, int(address).to_bytes(size, "big")) == str(address)


@pytest.mark.parametrize(
    ("more", "common"),
    [
        ({}, True),
        ({"subnet": "10.0.0.0/24,fd00::/64"}, True),
        ({"subnet": "::/112"}, False),
        ({"ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.0.1.0/24"}]]}, False),
        ({"mac": "02:00:00:00:00:01"}, False),
        ({"runtimeConfig": {"ips": ["10.0.0.9/24"]}}, False),
        ({"runtimeConfig": {"mac": "02:00:00:00:00:01"}}, False),
        ({"runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 80}]}}, False),
        ({"runtimeConfig": {"bandwidth": {"ingressRate": 10**6, "ingressBurst": 10**6}}}, False),
        ({"prevResult": {"cniVersion": "1.0.0", "interfaces": [{"name": "x"}]}}, False),
        ({"ipam": {"type": "host-local"}}, False),
    ],
)
def test_templates_are_for_pods_that_ask_for_nothing_of_their_own(more: dict[str, Any], common: bool) -> None:
    text = {"cniVersion": "1.0.0", "name": "net", "mode": "routed", "subnet": "10.0.0.0/24", **more}
    if "ranges" in more or "ipam" in more:
        del text["subnet"]
    assert is_common(parse_configuration(json.dumps(text).encode())) is common


def test_a_difference_that_nothing_explains_is_an_error() -> None:
    found = derive_template(b"1ab%2", b"1cd%2", ([b"", b"ab"], [b"", b"cd"]))
    assert found.fill([b"not asked for", b"%(x)b"]) == b"1%(x)b%2"
    assert derive_template(b"same", b"same", ([b"ab"], [b"cd"])).fill([b"x"]) == b"same"
    for first, second, why in (
        (b"1ab2", b"1cd3", "byte 3 differs"),
        (b"ab", b"cdx", "2 bytes and 3 bytes"),
        (b"ab", b"ce", "byte 0 differs"),
    ):
        with pytest.raises(TemplateError, match=why):
            derive_template(first, second, ([b"ab"], [b"cd"]))
    with pytest.raises(TemplateError, match="not all different"):
        derive_template(b"ab", b"cd", ([b"ab", b"ab"], [b"cd", b"ce"]))


def test_sample_addresses_are_two_addresses_of_the_range_beside_the_gateway() -> None:
    for text, gateway in (("10.0.0.8/30", "10.0.0.9"), ("10.0.0.8/30", "10.0.0.10"), ("fd00::/64", "fd00::1")):
        network = ip_network(text)
        pair = samples.sample_addresses(PodAddress(network[2], network.prefixlen, ip_address(gateway)))
        assert len({*pair, ip_address(gateway)}) == 3
        assert [entry in network for entry in pair] == [True, True]
