# SPDX-License-Identifier: Apache-2.0
"""The gateway device: what a network needs of the host before its pods can communicate, read, compared and applied."""

from __future__ import annotations

from podwire import sysctl
from podwire.attachments.identity import MADE_ALIAS
from podwire.digest import blake2b
from podwire.ip import Interface
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.apply import apply_each
from podwire.netlink.socket import Netlink
from podwire.record import Record

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


class Gateway(Record):
    """The desired state: `device` is up and has `addresses`; the host forwards packets of `families`."""

    device: str
    addresses: tuple[Interface, ...]
    families: tuple[int, ...]
    mtu: int | None = None
    promiscuous: bool = False


def ensure_gateway(socket: Netlink, gateway: Gateway) -> read.Link:
    """Put a gateway in place; its device. Raises KernelRefusedError, OSError."""
    link, operations = _compare(socket, gateway)
    if operations or link is None:
        apply_each(socket, operations)
        link = read.link(socket, gateway.device)
        if link is None:
            raise OSError(f"device {gateway.device} was deleted while it was set up: try again")
    for family in gateway.families:
        sysctl.ensure(FORWARDING[family], "1")
    return link


def missing_operations(socket: Netlink, gateway: Gateway) -> list[op.Operation]:
    """What `ensure_gateway` would do to the device. Raises NetlinkError."""
    return _compare(socket, gateway)[1]


def _compare(socket: Netlink, gateway: Gateway) -> tuple[read.Link | None, list[op.Operation]]:
    """The gateway device, and the operations that it needs. Other addresses and flags are left alone."""
    device, link = gateway.device, read.link(socket, gateway.device)
    operations: list[op.Operation] = []
    if link is None:
        operations.append(op.AddBridge(device, device_mac(device), gateway.mtu))
    # Without alias: podwire made the device, but ended before it set the alias.
    if link is None or (is_made(link.name, link.mac) and not link.alias.startswith(MADE_ALIAS)):
        operations.append(op.SetAlias(device, MADE_ALIAS))
    if link is None or not link.up:
        operations.append(op.SetUp(device))
    if gateway.promiscuous and (link is None or not link.promiscuous):
        operations.append(op.SetPromiscuous(device))
    actual = (
        [found for family in gateway.families for found in read.addresses(socket, link.index, family)] if link else []
    )
    operations += [op.AddAddress(device, address) for address in gateway.addresses if address not in actual]
    return link, operations


def is_made(device: str, mac: str) -> bool:
    """Did podwire make this bridge? Its MAC is set by the message that creates it, before its alias."""
    return mac == device_mac(device)


def device_mac(device: str) -> str:
    """The MAC of a gateway device: locally administered, a hash of its name."""
    raw = bytearray(blake2b(f"podwire {device}".encode(errors="surrogateescape"), digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
