# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a check: pods, hosts and addresses outside; and the file that lists them. Pure.

The file (`--topology FILE`) is JSON:

    {"endpoints": [
      {"name": "node-1", "kind": "host", "node": "node-1", "addresses": ["192.168.33.11"], "netns": "/run/netns/n1"},
      {"name": "web",    "kind": "pod",  "node": "node-1", "addresses": ["10.244.1.5"],    "pid": 4711},
      {"name": "internet", "kind": "outside", "addresses": ["203.0.113.1"], "tcp_port": 443}
    ]}

name       unique; the report uses it
kind       pod | host | outside
node       the name of its node; the default for a host is its own name; an outside endpoint has no node
addresses  IPv4 and IPv6; may be missing if there is a namespace: then they are read from it. A host's first address
           of a family is called by pods of other nodes; its own pods call all of them (its gateway, too)
netns      the file of its network namespace, or
pid        a process in that namespace
tcp_port   for an endpoint without a namespace: a TCP port that answers. (In a namespace the check serves its own ports)

A pod without a namespace is called and does not call. No check knows the source address that an endpoint without a
namespace sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Literal

import msgspec
from msgspec import Struct

from podwire.ip import Address
from podwire.record import Record
from podwire.text import shown

Kind = Literal["pod", "host", "outside"]


class EndpointError(Exception):
    """The error in the endpoints and the next step, in one line."""


class Endpoint(Record):
    """A pod, a host or an address outside. `netns` is a path, empty if its namespace cannot be entered.

    `own` are all addresses of its namespace; `mtu` is that of the device with its first address, in bytes, 0 if it is
    unknown.
    """

    name: str
    kind: Kind
    node: str = ""
    addresses: tuple[Address, ...] = ()
    netns: str = ""
    tcp_port: int = 0
    own: tuple[Address, ...] = ()
    mtu: int = 0

    def of_family(self, family: int) -> tuple[Address, ...]:
        return tuple(address for address in self.addresses if address.version == family)

    @property
    def sends_from(self) -> frozenset[Address]:
        """All addresses from which it may send."""
        return frozenset(self.addresses) | frozenset(self.own)


class RawEndpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint in the file."""

    name: str
    kind: Kind
    node: str = ""
    addresses: tuple[str, ...] = ()
    netns: str = ""
    pid: int = 0
    tcp_port: int = 0


class RawTopology(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    endpoints: tuple[RawEndpoint, ...]


def parse_topology(text: bytes) -> list[Endpoint]:
    """The endpoints in the text of a file. Raises EndpointError."""
    try:
        raw = msgspec.json.decode(text, type=RawTopology)
    except msgspec.ValidationError as wrong:
        raise EndpointError(f"{wrong}: see the keys in podwire.diagnose.endpoints") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise EndpointError(f"is not JSON: {wrong}") from None
    found = [_validate(row, f"endpoints[{number}]") for number, row in enumerate(raw.endpoints)]
    check_endpoints(found)
    return found


def _validate(raw: RawEndpoint, where: str) -> Endpoint:
    if raw.netns and raw.pid:
        raise EndpointError(f"{where}: has netns and pid: give one of them")
    if raw.pid < 0 or not 0 <= raw.tcp_port <= 65535:
        raise EndpointError(f"{where}: pid or tcp_port is out of range")
    node = raw.node or (raw.name if raw.kind == "host" else "")
    netns = f"/proc/{raw.pid}/ns/net" if raw.pid else raw.netns
    addresses = tuple(parse_address(text, f"{where}.addresses") for text in raw.addresses)
    return Endpoint(raw.name, raw.kind, node, addresses, netns, raw.tcp_port)


def parse_address(text: str, where: str) -> Address:
    """A unicast address. Raises EndpointError."""
    try:
        address = ip_address(text)
    except ValueError:
        words = f"{shown(text)} is not an IP address: write an address such as 10.244.1.5"
        raise EndpointError(f"{where}: {words}") from None
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        raise EndpointError(f"{where}: {address} cannot be called from another node: give a unicast address")
    return address


def parse_target(text: str) -> Endpoint:
    """`--to`: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT as an endpoint outside. Raises EndpointError."""
    bare, port = text, ""
    if text.startswith("["):
        bare, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        bare, _, port = text.partition(":")
    address = parse_address(bare, "--to")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise EndpointError(f"--to: {shown(port)} is not a port: write a port such as 203.0.113.1:443")
    return Endpoint(text, "outside", addresses=(address,), tcp_port=int(port or 0))


def check_endpoints(endpoints: Sequence[Endpoint]) -> None:
    """Raises EndpointError if a check is impossible: a name is used twice, a pod has no node, there is no pod."""
    names: set[str] = set()
    for endpoint in endpoints:
        if not endpoint.name or endpoint.name in names:
            raise EndpointError(f"{shown(endpoint.name)}: every endpoint needs a name that no other endpoint has")
        names.add(endpoint.name)
        if endpoint.kind == "pod" and not endpoint.node:
            raise EndpointError(f"pod {endpoint.name}: its node is missing: give the name of its host")
        if not endpoint.netns and not endpoint.addresses:
            label = f"{endpoint.kind} {endpoint.name}"
            raise EndpointError(f"{label}: has neither addresses nor a namespace: give one of them")
    if not any(endpoint.kind == "pod" and endpoint.netns for endpoint in endpoints):
        raise EndpointError("there is no pod to check from: start one, or name it with its netns in --topology")


def host_of(endpoints: Iterable[Endpoint], node: str) -> Endpoint | None:
    """The host endpoint of a node."""
    return next((endpoint for endpoint in endpoints if endpoint.kind == "host" and endpoint.node == node), None)
