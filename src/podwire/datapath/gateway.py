"""What the host itself must have before a network's pods can talk: a device with the gateways, and forwarding."""

from __future__ import annotations

from collections.abc import Iterable

from podwire.datapath.wiring import PodAddress
from podwire.digest import blake2b
from podwire.ip import Interface, with_prefix
from podwire.netlink import operations as op
from podwire.netlink.operations import Operation
from podwire.plugin.config import Configuration
from podwire.record import Record

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
CREATED = "podwire made"


class Gateway(Record):
    """The desired part of a host: `device` up, carrying `gateways`; `families` forwarded."""

    device: str
    gateways: tuple[Interface, ...]
    families: tuple[int, ...]
    mtu: int | None = None
    promiscuous: bool = False


class ActualGateway(Record):
    """What the host has of it; `exists` and `up` are the device's.

    `unmarked`: we made the device (its MAC tells), but died before its alias said so.
    """

    exists: bool = False
    unmarked: bool = False
    up: bool = False
    promiscuous: bool = False
    addresses: tuple[Interface, ...] = ()


def desired_gateway(config: Configuration, delegated: Iterable[PodAddress] = ()) -> Gateway:
    """The host part of a network. `delegated` are the addresses that an IPAM plug-in gave, if one did.

    A bridge carries the gateway with its range's prefix, so the range is on-link. In routed mode every pod has
    its own host route, so the gateway stands alone (/32, /128) on a device without ports.
    """
    routed = config.mode == "routed"
    found: dict[Interface, None] = {}
    for group in config.range_sets:
        for one in group.ranges:
            length = one.gateway.max_prefixlen if routed else one.subnet.prefixlen
            found[with_prefix(one.gateway, length)] = None
    for address in delegated:
        if address.gateway is not None:
            length = address.gateway.max_prefixlen if routed else address.prefix
            found[with_prefix(address.gateway, length)] = None
    wanted = tuple(found) if config.is_gateway or routed else ()
    return Gateway(
        device=config.gateway_device,
        gateways=wanted,
        families=tuple(sorted({one.version for one in wanted})),
        mtu=None if routed else config.mtu,
        promiscuous=config.promiscuous and not routed,
    )


def missing(part: Gateway, actual: ActualGateway) -> list[Operation]:
    """The operations that turn `actual` into `part`; none when it is so already. A bridge is never shrunk."""
    operations: list[Operation] = []
    if not actual.exists:
        operations.append(op.AddBridge(part.device, device_mac(part.device), part.mtu))
    if actual.unmarked or not actual.exists:
        operations.append(op.SetAlias(part.device, CREATED))
    if not actual.up:
        operations.append(op.SetUp(part.device))
    if part.promiscuous and not actual.promiscuous:
        operations.append(op.SetPromiscuous(part.device))
    operations += [op.AddAddress(part.device, one) for one in part.gateways if one not in actual.addresses]
    return operations


def is_made(device: str, mac: str) -> bool:
    """Did we make this bridge? Its MAC was in the message that created it; its alias came a moment later."""
    return mac == device_mac(device)


def device_mac(device: str) -> str:
    """A fixed MAC for a device of ours: locally administered, from its name."""
    raw = bytearray(blake2b(f"podwire {device}".encode(errors="surrogateescape"), digest_size=6).digest())
    raw[0] = raw[0] & 0xFC | 0x02
    return raw.hex(":")
