"""The gateway device: what a network needs of the host before its pods can communicate, read, compared and applied."""

from __future__ import annotations

from podwire import sysctl
from podwire.attachments.identity import MADE_ALIAS
from podwire.digest import blake2b
from podwire.ip import Interface
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink.apply import apply_each
from podwire.netlink.operations import Operation, describe
from podwire.netlink.read import Link
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


class ActualGateway(Record):
    """The state read from the kernel; `exists` and `up` are the device's.

    `unmarked`: podwire made the device (its MAC shows it) but ended before it set the device's alias.
    """

    exists: bool = False
    unmarked: bool = False
    up: bool = False
    promiscuous: bool = False
    addresses: tuple[Interface, ...] = ()


def ensure_gateway(socket: Netlink, gateway: Gateway) -> tuple[Link, list[str]]:
    """Put a gateway in place; its device, and the commands that equal the changes.

    Raises KernelRefusedError, OSError.
    """
    link, actual = _read(socket, gateway)
    operations = missing(gateway, actual)
    if operations or link is None:
        apply_each(socket, operations)
        link = read.link(socket, gateway.device)
        if link is None:
            raise OSError(f"device {gateway.device} was deleted while it was set up: try again")
    changes = [describe(operation) for operation in operations]
    for family in gateway.families:
        if sysctl.ensure(FORWARDING[family], "1"):
            changes.append(f"sysctl -w {FORWARDING[family]}=1")
    return link, changes


def missing_operations(socket: Netlink, gateway: Gateway) -> list[Operation]:
    """What `ensure_gateway` would do to the device. Raises NetlinkError."""
    return missing(gateway, _read(socket, gateway)[1])


def _read(socket: Netlink, gateway: Gateway) -> tuple[Link | None, ActualGateway]:
    link = read.link(socket, gateway.device)
    if link is None:
        return None, ActualGateway()
    addresses = [address for family in gateway.families for address in read.addresses(socket, link.index, family)]
    unmarked = is_made(link.name, link.mac) and not link.alias.startswith(MADE_ALIAS)
    return link, ActualGateway(True, unmarked, link.up, link.promiscuous, tuple(addresses))


def missing(gateway: Gateway, actual: ActualGateway) -> list[Operation]:
    """The operations that turn `actual` into `gateway`. Addresses and flags that are not desired are left alone."""
    operations: list[Operation] = []
    if not actual.exists:
        operations.append(op.AddBridge(gateway.device, device_mac(gateway.device), gateway.mtu))
    if actual.unmarked or not actual.exists:
        operations.append(op.SetAlias(gateway.device, MADE_ALIAS))
    if not actual.up:
        operations.append(op.SetUp(gateway.device))
    if gateway.promiscuous and not actual.promiscuous:
        operations.append(op.SetPromiscuous(gateway.device))
    absent = [address for address in gateway.addresses if address not in actual.addresses]
    operations += [op.AddAddress(gateway.device, address) for address in absent]
    return operations


def is_made(device: str, mac: str) -> bool:
    """Did podwire make this bridge? Its MAC is set by the message that creates it, before its alias."""
    return mac == device_mac(device)


def device_mac(device: str) -> str:
    """The MAC of a gateway device: locally administered, a hash of its name."""
    raw = bytearray(blake2b(f"podwire {device}".encode(errors="surrogateescape"), digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
