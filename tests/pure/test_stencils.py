"""A filled stencil is, to the byte, what the plan's own encoding is."""

from __future__ import annotations

import json
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.cni.config import parse_configuration
from podwire.kernel.encode import encode
from podwire.kernel.netlink import PADDING
from podwire.kernel.read import Link
from podwire.plan.blanks import UnexplainedError, blanked
from podwire.pod import wiring as wire
from podwire.pod.identity import Attachment, pod_mac
from podwire.pod.wiring import PodAddress, Wiring
from podwire.verbs import imaginary

PLANS = (wire.birth_operations, wire.host_operations, wire.pod_operations)
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
def wirings(draw: st.DrawFn) -> list[Wiring]:
    """Two pods of one network, whose wirings have one shape."""
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
        for one in ranges:
            host = draw(st.integers(2, one.num_addresses - 2))
            addresses.append(PodAddress(one[host], one.prefixlen, one[1]))
        mac, since = pod_mac(addresses[0].ip, attachment.device), "2026-11-24T21:12:05Z"
        sandbox = draw(st.sampled_from(["/run/netns/x", '/run/netns/"ü%s'])) + container
        alias = attachment.alias(since)
        pods.append(Wiring(attachment, config, mac, sandbox, addresses, None, INDEX, alias, True, note))
    return pods


def encoded(plan: imaginary.Plan, pod: Wiring) -> bytes:
    """The plan's messages one after the other, without sequence numbers and the last one's wish for an answer."""
    index = {pod.device: INDEX, pod.ifname: pod.pod_index, "lo": 1}
    messages = [encode(one, lambda name: index.get(name, GATEWAY.index), NETNS) for one in plan(pod)]
    return b"".join(one + PADDING[len(one) & 3] for one in messages)


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


@settings(max_examples=60, deadline=None)
@given(wirings())
def test_a_filled_stencil_is_the_plans_own_encoding(pods: list[Wiring]) -> None:
    one, other = pods
    values = imaginary.values(other, GATEWAY, NETNS)
    if imaginary.shape(one, imaginary.values(one, GATEWAY, NETNS)) != imaginary.shape(other, values):
        return
    for plan in PLANS:
        stencil = imaginary.stencil(plan, one)
        if not plan(one):
            assert stencil is None
            continue
        assert stencil is not None
        filled = stencil.fill(values, 7)
        assert unnumbered(filled) == encoded(plan, other)
        assert filled[8:12] == bytes([0, 7, 0, 0])


@settings(max_examples=60, deadline=None)
@given(wirings())
def test_a_filled_answer_is_the_answer(pods: list[Wiring]) -> None:
    one, other = pods
    found = imaginary.answer_format(one)
    assert found is not None
    assert found % imaginary.values(other, GATEWAY, NETNS) == imaginary.answer(other, GATEWAY.mac)


def test_a_difference_that_nothing_explains_is_an_error() -> None:
    values = ({b"name": b"ab"}, {b"name": b"cd"})
    assert blanked(b"1ab%2", b"1cd%2", values) == b"1%(name)b%%2"
    for first, second in ((b"1ab2", b"1cd3"), (b"ab", b"cdx"), (b"ab", b"ce")):
        with pytest.raises(UnexplainedError):
            blanked(first, second, values)
    with pytest.raises(UnexplainedError):
        blanked(b"ab", b"cd", ({b"name": b"ab", b"alias": b"ab"}, {b"name": b"cd", b"alias": b"ce"}))


def test_stand_ins_are_two_addresses_of_the_range_beside_the_gateway() -> None:
    for text, gateway in (("10.0.0.8/30", "10.0.0.9"), ("10.0.0.8/30", "10.0.0.10"), ("fd00::/64", "fd00::1")):
        network = ip_network(text)
        pair = imaginary.stand_ins(PodAddress(network[2], network.prefixlen, ip_address(gateway)))
        assert len({*pair, ip_address(gateway)}) == 3
        assert all(one in network for one in pair)
