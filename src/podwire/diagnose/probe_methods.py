# SPDX-License-Identifier: Apache-2.0
"""The probe methods: ping, TCP, UDP and full-size packets. Each runs in a thread in its source's namespace."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

from podwire.diagnose import packets
from podwire.diagnose.plan import Outcome, Probe, Status, verdict
from podwire.ip import Address
from podwire.netlink import constants as c
from podwire.netlink import message as nl

RESEND_SECONDS = 0.25
ICMP_ORIGINS = (c.SO_EE_ORIGIN_ICMP, c.SO_EE_ORIGIN_ICMP6)
EXTENDED_ERROR = struct.Struct("=IBBBBII")
RECEIVE_BYTES = 65536
SMALLEST_MTU = {4: 576, 6: 1280}
STEP_BYTES = 10
BURST_BYTES = 4 << 20
MAX_HOPS = 8
MAX_ERRORS = 2


class Reply:
    """The answer to a request, filled in while packets arrive; `path_mtu` was reported for a packet of `sent_bytes`."""

    def __init__(self, sent_bytes: int = 0, words: str = "") -> None:
        self.sent_bytes = sent_bytes
        self.answered = False
        self.rtt_seconds = 0.0
        self.body = b""
        self.words = words
        self.refused = False
        self.path_mtu = 0


def ping(probe: Probe, timeout_seconds: float, token: bytes = b"", packet_bytes: int = 0) -> Outcome:
    """ICMP echo, repeated until the timeout."""
    reply = _echo(probe.address, packet_bytes, timeout_seconds, token or _new_token())
    if reply.answered:
        return Outcome(probe, "ok", reply.rtt_seconds)
    return Outcome(probe, "lost", words=reply.words or "no answer")


def tcp(probe: Probe, port: int, timeout_seconds: float) -> Outcome:
    """A TCP connection; the check's own server answers with the source address that it sees."""
    begun = time.monotonic()
    with socket.socket(nl.family(probe.family), socket.SOCK_STREAM) as client:
        client.settimeout(timeout_seconds)
        try:
            client.connect((str(probe.address), port))
            took = time.monotonic() - begun
            seen = _source(client.recv(100)) if probe.sources else None
        except TimeoutError:
            return Outcome(probe, "lost", words="no answer")
        except OSError as refused:
            return Outcome(probe, _status(refused), words=refused.strerror or "refused")
    if probe.sources and seen is None:
        return Outcome(probe, "lost", words="connected, but the server did not answer")
    return verdict(probe, took, seen)


def udp(probe: Probe, port: int, timeout_seconds: float, token: bytes = b"") -> Outcome:
    """A UDP datagram, repeated until the timeout; the server answers with the source address that it sees."""
    token = token or _new_token()
    with socket.socket(nl.family(probe.family), socket.SOCK_DGRAM) as client:
        _enable_errors(client, probe.family)
        reply = _ask(client, probe.address, port, token, timeout_seconds, lambda data: data.startswith(token))
    if reply.answered:
        return verdict(probe, reply.rtt_seconds, _source(reply.body[len(token) :]))
    return Outcome(probe, "refused" if reply.refused else "lost", words=reply.words or "no answer")


def mtu(probe: Probe, device_mtu: int, timeout_seconds: float) -> Outcome:
    """Packets as large as the device's MTU, with DF set, then as large as the path MTU that is reported.

    The path must carry them or report its MTU (RFC 1191, 8201); without a report it is a black hole.
    """
    size = device_mtu
    words = ""
    for _ in range(MAX_HOPS):
        reply = _echo(probe.address, size, timeout_seconds, _new_token())
        if reply.answered:
            return Outcome(probe, "ok", reply.rtt_seconds, mtu=size)
        words = reply.words
        if not SMALLEST_MTU[probe.family] <= reply.path_mtu < size:
            break
        size = reply.path_mtu
    passing = _largest(probe.address, size, timeout_seconds)
    found = f"{passing} bytes pass" if passing else "small packets do not pass either"
    words = f"packets of {size} bytes are lost without an ICMP error; {found}" + (f" ({words})" if words else "")
    return Outcome(probe, "black hole", mtu=passing, lost_bytes=size, words=words)


def _largest(address: Address, size: int, timeout_seconds: float) -> int:
    """The largest packet that is answered, in steps of `STEP_BYTES`; all sizes are sent at once; 0: none."""
    best, token = 0, _new_token()
    with _raw(address) as client:
        client.setsockopt(socket.SOL_SOCKET, c.SO_RCVBUFFORCE, BURST_BYTES)
        for length in range(SMALLEST_MTU[address.version], size, STEP_BYTES):
            with suppress(OSError):
                client.send(packets.echo_request(address.version, token, 1, length))
        until = time.monotonic() + timeout_seconds
        while _is_ready(client, until):
            with suppress(OSError):
                data = client.recv(RECEIVE_BYTES)
                if packets.is_echo_reply(address.version, data, token):
                    best = max(best, len(data) + (40 if address.version == 6 else 0))
            _errors(client, address.version)
    return best


def _echo(address: Address, packet_bytes: int, timeout_seconds: float, token: bytes) -> Reply:
    try:
        client = _raw(address)
    except OSError as refused:
        return Reply(words=refused.strerror or "refused")
    with client:
        message = packets.echo_request(address.version, token, 1, packet_bytes)
        is_answer = partial(packets.is_echo_reply, address.version, token=token)
        return _ask(client, address, 0, message, timeout_seconds, is_answer, packet_bytes)


def _is_ready(client: socket.socket, until: float) -> bool:
    """Wait for an answer or an error until the time `until`."""
    poll = select.poll()
    poll.register(client, select.POLLIN | select.POLLERR)
    return (left := until - time.monotonic()) > 0 and bool(poll.poll(left * 1000))


def _raw(address: Address) -> socket.socket:
    """A raw socket that receives only echo replies, sets DF and ignores the cached path MTU."""
    if address.version == 4:
        client = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        client.setsockopt(c.SOL_RAW, c.ICMP_FILTER, struct.pack("=I", ~(1 << packets.ECHO_REPLY[4]) & 0xFFFFFFFF))
        client.setsockopt(socket.IPPROTO_IP, c.IP_MTU_DISCOVER, c.IP_PMTUDISC_PROBE)
    else:
        client = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        blocked = ((1 << 256) - 1) & ~(1 << packets.ECHO_REPLY[6])
        client.setsockopt(socket.IPPROTO_ICMPV6, c.ICMPV6_FILTER, blocked.to_bytes(32, "little"))
        client.setsockopt(socket.IPPROTO_IPV6, c.IPV6_MTU_DISCOVER, c.IPV6_PMTUDISC_PROBE)
    try:
        # In this order: a raw socket that is not connected receives errors for all destinations.
        client.connect((str(address), 0))
        _enable_errors(client, address.version)
    except OSError:
        client.close()
        raise
    return client


def _enable_errors(client: socket.socket, family: int) -> None:
    """Enable ICMP errors, with their senders, in the socket's error queue (IP_RECVERR, ip(7))."""
    option = (socket.IPPROTO_IP, c.IP_RECVERR) if family == 4 else (socket.IPPROTO_IPV6, c.IPV6_RECVERR)
    client.setsockopt(*option, 1)


def _ask(
    client: socket.socket,
    address: Address,
    port: int,
    message: bytes,
    timeout_seconds: float,
    is_answer: Callable[[bytes], bool],
    packet_bytes: int = 0,
) -> Reply:
    """Send the message repeatedly until the answer arrives, two errors arrive, or the timeout."""
    reply, errors = Reply(packet_bytes), 0
    begun = time.monotonic()
    until = begun + timeout_seconds
    try:
        if port:
            client.connect((str(address), port))
        while (now := time.monotonic()) < until:
            try:
                client.send(message)
            except OSError as refused:
                errors += _note(reply, refused)
            while _is_ready(client, min(now + RESEND_SECONDS, until)):
                errors += _take(client, address.version, reply, is_answer)
                if reply.answered:
                    reply.rtt_seconds = time.monotonic() - begun
                    return reply
                if reply.path_mtu or errors >= MAX_ERRORS:
                    return reply
    except OSError as refused:
        _note(reply, refused)
    return reply


def _take(client: socket.socket, family: int, reply: Reply, is_answer: Callable[[bytes], bool]) -> int:
    """Receive waiting answers and errors; the number of errors."""
    found = 0
    for words, path_mtu in _errors(client, family):
        if path_mtu >= reply.sent_bytes > 0:
            continue  # the error is for an earlier, larger packet
        reply.words, reply.path_mtu = words, path_mtu or reply.path_mtu
        found += 1
    try:
        data = client.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return found
    except OSError as refused:
        return found + _note(reply, refused)
    if is_answer(data):
        reply.answered, reply.body = True, data
    return found


def _note(reply: Reply, refused: OSError) -> int:
    if refused.errno == errno.EMSGSIZE:
        return 0  # the error queue has the same error, with the MTU
    reply.refused = reply.refused or refused.errno == errno.ECONNREFUSED
    reply.words = reply.words or refused.strerror or "refused"
    return 1


def _errors(client: socket.socket, family: int) -> list[tuple[str, int]]:
    """The socket's error queue: texts such as "192.168.30.1: host unreachable", and the reported MTU or 0."""
    found: list[tuple[str, int]] = []
    while True:
        try:
            _, ancillary, _, _ = client.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError:
            return found
        for _, _, data in ancillary:
            if len(data) < EXTENDED_ERROR.size:
                continue
            number, origin, kind, code, _, info, _ = EXTENDED_ERROR.unpack_from(data)
            words = os.strerror(number)
            if origin in ICMP_ORIGINS:
                words = f"{_offender(data[EXTENDED_ERROR.size :], family)}: {packets.icmp_text(family, kind, code)}"
            found.append((words, info if number == errno.EMSGSIZE else 0))


def _offender(data: bytes, family: int) -> str:
    raw = data[4:8] if family == 4 else data[8:24]
    return str(ip_address(raw)) if len(raw) in (4, 16) else "unknown sender"


def _status(refused: OSError) -> Status:
    return "refused" if refused.errno in (errno.ECONNREFUSED, errno.ECONNRESET) else "lost"


def _source(words: bytes) -> Address | None:
    try:
        return ip_address(words.decode().partition("%")[0])
    except ValueError:
        return None


def _new_token() -> bytes:
    return packets.token(os.urandom(8))
