# SPDX-License-Identifier: Apache-2.0
"""Parsing of captured frames, and the drop point that follows from captured packets."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.diagnose import packets
from podwire.diagnose.drop_point import (
    CapturedPacket,
    DropPoint,
    Trace,
    describe_captured,
    direction_of,
    find_drop_point,
    icmp_errors,
)
from podwire.diagnose.packets import Packet, parse_frame, token
from podwire.diagnose.plan import Method, Probe

MARK = token(b"12345678")
MACS = bytes.fromhex("0a00000000020a0000000001")
POD, FAR, NODE, PEER = "10.1.0.5", "10.2.0.5", "192.0.2.1", "192.0.2.2"


def ip4(source: str, destination: str, protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, fragment, 64, protocol, 0)
    return head + ip_address(source).packed + ip_address(destination).packed + payload


def ip6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return head + ip_address(source).packed + ip_address(destination).packed + payload


def frame(packet: bytes) -> bytes:
    return MACS + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet


def udp(source: int, destination: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def echo(family: int, mark: bytes = MARK) -> bytes:
    return packets.echo_request(family, mark, 1)


def test_an_echo_request_has_the_wanted_length_and_a_right_checksum() -> None:
    for size in (0, 576, 1450, 1500):
        message = packets.echo_request(4, MARK, 1, size)
        assert packets.checksum(message) == 0
        assert len(message) + 20 == max(size, 28 + len(MARK))
    assert len(packets.echo_request(6, MARK, 1, 1500)) + 40 == 1500


def test_only_the_right_reply_is_a_reply() -> None:
    reply = b"\0" + echo(4)[1:]
    assert packets.is_echo_reply(4, ip4(FAR, POD, 1, reply), MARK)
    assert not packets.is_echo_reply(4, ip4(FAR, POD, 1, echo(4)), MARK)
    assert not packets.is_echo_reply(4, ip4(FAR, POD, 1, reply), token(b"other"))
    assert packets.is_echo_reply(6, b"\x81" + echo(6)[1:], MARK)


def test_ping_udp_and_tcp_are_parsed() -> None:
    ping = parse_frame(frame(ip4(POD, FAR, 1, echo(4))))
    assert ping and (ping.token, ping.type, str(ping.source), ping.to_mac) == (MARK, 8, POD, "0a:00:00:00:00:02")
    datagram = parse_frame(frame(ip6("fd00::1", "fd00::2", 17, udp(1000, 2000, MARK))))
    assert datagram and (datagram.token, datagram.source_port, datagram.destination_port) == (MARK, 1000, 2000)
    stream = parse_frame(frame(ip4(POD, FAR, 6, struct.pack(">HH", 7, 9) + bytes(16))))
    assert stream and (stream.source_port, stream.destination_port) == (7, 9)
    bare = parse_frame(ip4(POD, FAR, 1, echo(4)), ethernet=False)
    assert bare and bare.token == MARK


def test_vxlan_is_decapsulated_and_the_outer_addresses_are_kept() -> None:
    inner = frame(ip4(POD, FAR, 1, echo(4)))
    outer = parse_frame(frame(ip4(NODE, PEER, 17, udp(5, 4789, b"\x08\0\0\0\0\x10\0\0" + inner))))
    assert outer and (str(outer.source), str(outer.destination)) == (POD, FAR)
    assert (str(outer.tunnel_from), str(outer.tunnel_to), outer.token) == (NODE, PEER, MARK)


def test_icmp_errors_have_the_quoted_packet() -> None:
    lost = ip4(POD, FAR, 1, echo(4))
    error = parse_frame(frame(ip4(NODE, POD, 1, struct.pack(">BBHHH", 3, 4, 0, 0, 1450) + lost)))
    assert error and error.quoted and (error.quoted.token, error.mtu) == (MARK, 1450)
    lost = ip6("fd00::1", "fd00::2", 58, echo(6))
    error = parse_frame(frame(ip6("fd00::9", "fd00::1", 58, struct.pack(">BBHI", 2, 0, 0, 1400) + lost)))
    assert error and error.quoted and (error.quoted.token, error.mtu) == (MARK, 1400)


def test_a_later_fragment_is_no_packet() -> None:
    assert parse_frame(frame(ip4(POD, FAR, 1, echo(4), fragment=100))) is None


@given(st.binary(max_size=200), st.booleans())
def test_no_frame_breaks_the_parser(data: bytes, ethernet: bool) -> None:
    assert isinstance(parse_frame(data, ethernet=ethernet), Packet | None)
    for kind in (b"\x08\x00", b"\x86\xdd"):
        assert isinstance(parse_frame(MACS + kind + data), Packet | None)


PATH = ("pod", "node", "peer", "far")


def trace(method: Method = "ping", port: int = 0) -> Trace:
    probe = Probe("pod", "far", ip_address(FAR), method)
    return Trace(probe, MARK, port, PATH, frozenset(PATH))


def there(tunnel: bool = False) -> Packet:
    to = ip_address(PEER) if tunnel else None
    return Packet(ip_address(POD), ip_address(FAR), 1, type=8, token=MARK, tunnel_to=to)


def back(tunnel: bool = False) -> Packet:
    to = ip_address(NODE) if tunnel else None
    return Packet(ip_address(FAR), ip_address(POD), 1, type=0, token=MARK, tunnel_to=to)


WHOLE = [
    CapturedPacket("pod", "eth0", True, there()),
    CapturedPacket("node", "pw1", False, there()),
    CapturedPacket("node", "vx", True, there()),
    CapturedPacket("node", "eth0", True, there(tunnel=True)),
    CapturedPacket("peer", "eth0", False, there(tunnel=True)),
    CapturedPacket("peer", "vx", False, there()),
    CapturedPacket("peer", "pw2", True, there()),
    CapturedPacket("far", "eth0", False, there()),
    CapturedPacket("far", "eth0", True, back()),
    CapturedPacket("peer", "pw2", False, back()),
    CapturedPacket("peer", "vx", True, back()),
    CapturedPacket("peer", "eth0", True, back(tunnel=True)),
    CapturedPacket("node", "eth0", False, back(tunnel=True)),
    CapturedPacket("node", "vx", False, back()),
    CapturedPacket("node", "pw1", True, back()),
    CapturedPacket("pod", "eth0", False, back()),
]
TUNNELS = {"node": {"vx"}, "peer": {"vx"}}


@pytest.mark.parametrize(
    ("seen", "kind", "at", "following", "direction"),
    [
        (0, "not sent", "pod", "", "request"),
        (1, "between", "pod", "node", "request"),
        (2, "inside", "node", "", "request"),
        (3, "not encapsulated", "node", "", "request"),
        (4, "between", "node", "peer", "request"),
        (5, "not decapsulated", "peer", "", "request"),
        (6, "inside", "peer", "", "request"),
        (7, "between", "peer", "far", "request"),
        (8, "unanswered", "far", "", "reply"),
        (9, "between", "far", "peer", "reply"),
        (10, "inside", "peer", "", "reply"),
        (11, "not encapsulated", "peer", "", "reply"),
        (12, "between", "peer", "node", "reply"),
        (13, "not decapsulated", "node", "", "reply"),
        (14, "inside", "node", "", "reply"),
        (15, "between", "node", "pod", "reply"),
        (16, "not received", "pod", "", "reply"),
    ],
)
def test_the_drop_point_is_after_the_last_captured_packet(
    seen: int, kind: str, at: str, following: str, direction: str
) -> None:
    drop = find_drop_point(trace(), WHOLE[:seen], TUNNELS)
    assert (drop.kind, drop.at, drop.next, drop.direction) == (kind, at, following, direction)


def test_endpoints_that_are_not_watched_are_skipped() -> None:
    watched = Trace(trace().probe, MARK, 0, PATH, frozenset({"pod", "node"}))
    drop = find_drop_point(watched, WHOLE[:4], TUNNELS)
    assert (drop.kind, drop.at, drop.next, drop.direction) == ("between", "peer", "node", "reply")


def test_tcp_packets_are_recognized_by_the_port_with_any_source_address() -> None:
    tcp_trace = trace("tcp", 4000)
    masked = Packet(ip_address(NODE), ip_address(FAR), 6, 999, 4000)
    assert direction_of(tcp_trace, masked) == "request"
    assert direction_of(tcp_trace, Packet(ip_address(FAR), ip_address(NODE), 6, 4000, 999)) == "reply"
    assert direction_of(tcp_trace, Packet(ip_address(NODE), ip_address(PEER), 6, 999, 4000)) is None
    assert direction_of(trace(), masked) is None


def test_icmp_errors_and_captured_packets_as_text() -> None:
    error = Packet(ip_address(NODE), ip_address(POD), 1, type=3, code=1, quoted=there())
    seen = [*WHOLE[:2], CapturedPacket("pod", "eth0", False, error)]
    assert icmp_errors(trace(), seen) == [f"{NODE}: host unreachable"]
    assert describe_captured(trace(), seen) == [
        f"pod eth0 out {POD} > {FAR}",
        f"node pw1 in {POD} > {FAR}",
        f"pod eth0 in {NODE} > {POD} (host unreachable)",
    ]
    assert isinstance(find_drop_point(trace(), seen, {}), DropPoint)
