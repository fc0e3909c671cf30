"""The two imaginary pods of a network from which its formats are made, and the values that a real one fills in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwire.attachments.identity import Attachment, pod_mac
from podwire.cni import document
from podwire.datapath import wiring as wire
from podwire.datapath.wiring import PodAddress, Wiring
from podwire.ip import Address
from podwire.netlink.message import mac_bytes, padded
from podwire.netlink.operations import Operation
from podwire.netlink.read import Link
from podwire.netlink.rtnl import ADDRESS_TEXT_BYTES, ALIAS_LENGTHS, encode
from podwire.plugin.add import answer
from podwire.plugin.config import Configuration
from podwire.plugin.template.derive import Format, Values, derive_template
from podwire.plugin.template.messages import MessageTemplate
from podwire.record import Record

Plan = Callable[[Wiring], list[Operation]]
INDEXES = (0x2A31C5E1, 0x2B42D6F2)
DESCRIPTORS = (0x7C75A9C5, 0x7C86BAD6)
GATEWAYS = tuple(
    Link(index, "imaginary", 0, 0, mac, 0, "", "", ())
    for index, mac in ((0x7B53E7A3, "0e:00:00:00:00:01"), (0x7B64F8B4, "0e:00:00:00:00:02"))
)
CANDIDATES = 8


class Shape(Record):
    """What pods of one network must share to share their formats.

    `ranges` are (network, gateway) of each address, `alias_bytes` and `note_bytes` the lengths of what is filled in.
    """

    config: Configuration
    ifname: str
    ranges: tuple[PodAddress, ...]
    alias_bytes: int
    note_bytes: int
    addrgenmode_none: bool


class Formats(Record):
    """What a pod's values make into the messages for the host's end, those for the pod's end, and the answer."""

    host: MessageTemplate
    pod: MessageTemplate
    answer: Format


def values(
    device: str,
    host_mac: bytes,
    pod_mac: bytes,
    index: int,
    netns: int,
    gateway: Link,
    alias: bytes,
    note: bytes,
    sandbox: str,
    addresses: Sequence[tuple[str, bytes]],
) -> list[bytes]:
    """What stands in the blanks of messages and of the answer.

    `addresses` are (text, packed); `alias` and `note` are filled up to their lengths.
    """
    found = [
        device.encode(),
        host_mac,
        pod_mac,
        index.to_bytes(4, "little"),
        (index + wire.POD_INDEX_OFFSET).to_bytes(4, "little"),
        netns.to_bytes(4, "little"),
        gateway.index.to_bytes(4, "little"),
        alias,
        note,
        host_mac.hex(":").encode(),
        pod_mac.hex(":").encode(),
        gateway.mac.encode(),
        document.quoted(sandbox),
    ]
    for text, packed in addresses:
        raw = text.encode()
        found += packed, raw, raw.ljust(ADDRESS_TEXT_BYTES[4 if len(packed) == 4 else 6], b"\0")
    return found


def values_of(wiring: Wiring, gateway: Link, netns: int) -> list[bytes]:
    """The values of a pod that has this wiring."""
    return values(
        wiring.device,
        mac_bytes(wiring.attachment.host_mac),
        mac_bytes(wiring.pod_mac),
        wiring.index,
        netns,
        gateway,
        padded(wiring.alias, *ALIAS_LENGTHS),
        padded(wiring.note, *ALIAS_LENGTHS) if wiring.note else b"",
        wiring.sandbox,
        [(str(one.ip), one.ip.packed) for one in wiring.addresses],
    )


def formats(shape: Shape) -> Formats:
    """The formats of all pods of a shape. Raises TemplateError."""
    one, other = pods = _imagined(shape)
    known = values_of(one, GATEWAYS[0], DESCRIPTORS[0]), values_of(other, GATEWAYS[1], DESCRIPTORS[1])
    said = derive_template(answer(one, GATEWAYS[0].mac), answer(other, GATEWAYS[1].mac), known)
    return Formats(_stencil(wire.all_host_operations, pods, known), _stencil(wire.pod_operations, pods, known), said)


def _stencil(plan: Plan, pods: tuple[Wiring, Wiring], known: tuple[Values, Values]) -> MessageTemplate:
    first, second = (
        [encode(operation, _index_of(pod, gateway), netns) for operation in plan(pod)]
        for pod, gateway, netns in zip(pods, GATEWAYS, DESCRIPTORS, strict=True)
    )
    return MessageTemplate((first, second), known)


def _index_of(pod: Wiring, gateway: Link) -> Callable[[str], int]:
    """`lo` is the first device everywhere; what is none of the pod's is the gateway device."""
    here = {wire.LOOPBACK: 1, pod.device: pod.index, pod.ifname: pod.pod_index}
    return lambda name: here.get(name, gateway.index)


def _imagined(shape: Shape) -> tuple[Wiring, Wiring]:
    """Two pods that differ in everything in which pods of this shape can differ."""
    pairs = [stand_ins(one) for one in shape.ranges]
    pods = []
    for which, letter in enumerate("ab"):
        attachment = Attachment("imaginary", letter, shape.ifname)
        addresses = [
            PodAddress(pair[which], one.prefix, one.gateway) for pair, one in zip(pairs, shape.ranges, strict=True)
        ]
        pods.append(
            Wiring(
                attachment,
                shape.config,
                pod_mac(None, attachment.device),
                f"imaginary-{letter}",
                addresses,
                None,
                INDEXES[which],
                letter * (shape.alias_bytes - 1),
                shape.addrgenmode_none,
                letter.upper() * (shape.note_bytes - 1),
            )
        )
    return pods[0], pods[1]


def stand_ins(one: PodAddress) -> tuple[Address, Address]:
    """Two addresses of a range, neither of them the gateway, whose texts are of one length."""
    network = one.network
    candidates = [network[n] for n in range(min(CANDIDATES, network.num_addresses))]
    for place, first in enumerate(candidates):
        for second in candidates[place + 1 :]:
            if one.gateway not in (first, second) and len(str(first)) == len(str(second)):
                return first, second
    raise ValueError(f"{network} is too small")
