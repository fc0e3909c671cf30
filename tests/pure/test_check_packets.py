"""Captured frames told apart, and the hop found from where they were seen."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.diagnose import packets
from podwire.diagnose.captured import Gap, Sighting, Trace, complaints, evidence, find_gap, way_of
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


def test_an_echo_request_is_as_long_as_wanted_and_its_checksum_right() -> None:
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


def test_ping_udp_and_tcp_are_told_apart() -> None:
    ping = parse_frame(frame(ip4(POD, FAR, 1, echo(4))))
    assert ping and (ping.token, ping.type, str(ping.source), ping.to_mac) == (MARK, 8, POD, "0a:00:00:00:00:02")
    datagram = parse_frame(frame(ip6("fd00::1", "fd00::2", 17, udp(1000, 2000, MARK))))
    assert datagram and (datagram.token, datagram.source_port, datagram.destination_port) == (MARK, 1000, 2000)
    stream = parse_frame(frame(ip4(POD, FAR, 6, struct.pack(">HH", 7, 9) + bytes(16))))
    assert stream and (stream.source_port, stream.destination_port) == (7, 9)
    bare = parse_frame(ip4(POD, FAR, 1, echo(4)), ethernet=False)
    assert bare and bare.token == MARK


def test_vxlan_is_unwrapped_and_remembered() -> None:
    inner = frame(ip4(POD, FAR, 1, echo(4)))
    outer = parse_frame(frame(ip4(NODE, PEER, 17, udp(5, 4789, b"\x08\0\0\0\0\x10\0\0" + inner))))
    assert outer and (str(outer.source), str(outer.destination)) == (POD, FAR)
    assert (str(outer.tunnel_from), str(outer.tunnel_to), outer.token) == (NODE, PEER, MARK)


def test_icmp_errors_tell_what_they_are_about() -> None:
    lost = ip4(POD, FAR, 1, echo(4))
    error = parse_frame(frame(ip4(NODE, POD, 1, struct.pack(">BBHHH", 3, 4, 0, 0, 1450) + lost)))
    assert error and error.about and (error.about.token, error.mtu) == (MARK, 1450)
    lost = ip6("fd00::1", "fd00::2", 58, echo(6))
    error = parse_frame(frame(ip6("fd00::9", "fd00::1", 58, struct.pack(">BBHI", 2, 0, 0, 1400) + lost)))
    assert error and error.about and (error.about.token, error.mtu) == (MARK, 1400)


def test_a_later_fragment_is_not_taken_for_a_packet() -> None:
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
    Sighting("pod", "eth0", True, there()),
    Sighting("node", "pw1", False, there()),
    Sighting("node", "vx", True, there()),
    Sighting("node", "eth0", True, there(tunnel=True)),
    Sighting("peer", "eth0", False, there(tunnel=True)),
    Sighting("peer", "vx", False, there()),
    Sighting("peer", "pw2", True, there()),
    Sighting("far", "eth0", False, there()),
    Sighting("far", "eth0", True, back()),
    Sighting("peer", "pw2", False, back()),
    Sighting("peer", "vx", True, back()),
    Sighting("peer", "eth0", True, back(tunnel=True)),
    Sighting("node", "eth0", False, back(tunnel=True)),
    Sighting("node", "vx", False, back()),
    Sighting("node", "pw1", True, back()),
    Sighting("pod", "eth0", False, back()),
]
TUNNELS = {"node": {"vx"}, "peer": {"vx"}}


@pytest.mark.parametrize(
    ("seen", "where", "at", "following", "way"),
    [
        (0, "not sent", "pod", "", "there"),
        (1, "between", "pod", "node", "there"),
        (2, "inside", "node", "", "there"),
        (3, "not wrapped", "node", "", "there"),
        (4, "between", "node", "peer", "there"),
        (5, "not unwrapped", "peer", "", "there"),
        (6, "inside", "peer", "", "there"),
        (7, "between", "peer", "far", "there"),
        (8, "unanswered", "far", "", "back"),
        (9, "between", "far", "peer", "back"),
        (10, "inside", "peer", "", "back"),
        (11, "not wrapped", "peer", "", "back"),
        (12, "between", "peer", "node", "back"),
        (13, "not unwrapped", "node", "", "back"),
        (14, "inside", "node", "", "back"),
        (15, "between", "node", "pod", "back"),
        (16, "not taken", "pod", "", "back"),
    ],
)
def test_the_gap_is_behind_the_last_sighting(seen: int, where: str, at: str, following: str, way: str) -> None:
    gap = find_gap(trace(), WHOLE[:seen], TUNNELS)
    assert (gap.where, gap.at, gap.next, gap.way) == (where, at, following, way)


def test_places_that_are_not_watched_are_passed_over() -> None:
    watched = Trace(trace().probe, MARK, 0, PATH, frozenset({"pod", "node"}))
    gap = find_gap(watched, WHOLE[:4], TUNNELS)
    assert (gap.where, gap.at, gap.next, gap.way) == ("between", "peer", "node", "back")


def test_tcp_is_known_by_its_port_whatever_its_source() -> None:
    one = trace("tcp", 4000)
    masked = Packet(ip_address(NODE), ip_address(FAR), 6, 999, 4000)
    assert way_of(one, masked) == "there"
    assert way_of(one, Packet(ip_address(FAR), ip_address(NODE), 6, 4000, 999)) == "back"
    assert way_of(one, Packet(ip_address(NODE), ip_address(PEER), 6, 999, 4000)) is None
    assert way_of(trace(), masked) is None


def test_complaints_and_evidence_are_words() -> None:
    error = Packet(ip_address(NODE), ip_address(POD), 1, type=3, code=1, about=there())
    seen = [*WHOLE[:2], Sighting("pod", "eth0", False, error)]
    assert complaints(trace(), seen) == [f"{NODE}: host unreachable"]
    assert evidence(trace(), seen) == [
        f"pod eth0 out {POD} > {FAR}",
        f"node pw1 in {POD} > {FAR}",
        f"pod eth0 in {NODE} > {POD} (host unreachable)",
    ]
    assert isinstance(find_gap(trace(), seen, {}), Gap)
