# SPDX-License-Identifier: Apache-2.0
"""The two sample pods of a network from which its templates are derived, and the values of a real pod."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwire.attachments.identity import Attachment, pod_mac
from podwire.cni import document
from podwire.datapath import wiring as wire
from podwire.datapath.wiring import Wiring
from podwire.ip import Address
from podwire.ipam.ranges import PodAddress
from podwire.netlink.message import mac_bytes, padded
from podwire.netlink.operations import Operation
from podwire.netlink.read import Link
from podwire.netlink.rtnl import ADDRESS_TEXT_BYTES, ALIAS_LENGTHS, encode
from podwire.plugin.config import Configuration
from podwire.plugin.template.derive import MessageTemplate, Template, Values, derive_template
from podwire.record import Record

Plan = Callable[[Wiring], list[Operation]]
INDEXES = (0x2A31C5E1, 0x2B42D6F2)
DESCRIPTORS = (0x7C75A9C5, 0x7C86BAD6)
GATEWAYS = tuple(
    Link(index, "sample", 0, 0, mac, 0, "", "", ())
    for index, mac in ((0x7B53E7A3, "0e:00:00:00:00:01"), (0x7B64F8B4, "0e:00:00:00:00:02"))
)
CANDIDATES = 8


class Shape(Record):
    """What pods of one network have in common if they share templates.

    `ranges`: the first address, prefix and gateway of the range of each address. `alias_bytes`, `note_bytes`: lengths.
    """

    config: Configuration
    ifname: str
    ranges: tuple[PodAddress, ...]
    alias_bytes: int
    note_bytes: int
    addrgenmode_none: bool


class PodTemplates(Record):
    """Templates of the messages for the host's end, of those for the pod's end, and of the answer."""

    host: MessageTemplate
    pod: MessageTemplate
    answer: Template


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
    """The values of a pod for the fields of its templates; `addresses` are (text, packed), the aliases padded."""
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
        [(str(address.ip), address.ip.packed) for address in wiring.addresses],
    )


def templates(shape: Shape) -> PodTemplates:
    """The templates of all pods of a shape. Raises TemplateError, ValueError."""
    left, right = pods = _sample_pods(shape)
    known = values_of(left, GATEWAYS[0], DESCRIPTORS[0]), values_of(right, GATEWAYS[1], DESCRIPTORS[1])
    results = [wire.result(pod, gateway.mac, shape.config.dns) for pod, gateway in zip(pods, GATEWAYS, strict=True)]
    answers = [shape.config.answer(result) for result in results]
    return PodTemplates(
        _message_template(wire.all_host_operations, pods, known),
        _message_template(wire.pod_operations, pods, known),
        derive_template(answers[0], answers[1], known),
    )


def _message_template(plan: Plan, pods: tuple[Wiring, Wiring], known: tuple[Values, Values]) -> MessageTemplate:
    first, second = (
        [encode(operation, _index_of(pod, gateway), netns) for operation in plan(pod)]
        for pod, gateway, netns in zip(pods, GATEWAYS, DESCRIPTORS, strict=True)
    )
    return MessageTemplate((first, second), known)


def _index_of(pod: Wiring, gateway: Link) -> Callable[[str], int]:
    """Device indexes by name: `lo` is 1 everywhere; a name that is not the pod's is the gateway device's."""
    known = {wire.LOOPBACK: 1, pod.device: pod.index, pod.ifname: pod.pod_index}
    return lambda name: known.get(name, gateway.index)


def _sample_pods(shape: Shape) -> tuple[Wiring, Wiring]:
    config = shape.config
    pairs = [sample_addresses(address) for address in shape.ranges]
    pods = []
    for which, letter in enumerate("ab"):
        attachment = Attachment("sample", letter, shape.ifname)
        both = zip(pairs, shape.ranges, strict=True)
        addresses = [PodAddress(pair[which], like.prefix, like.gateway) for pair, like in both]
        pods.append(
            Wiring(
                attachment,
                config.datapath,
                pod_mac(None, attachment.device),
                f"sample-{letter}",
                addresses,
                wire.configured_routes(config.routes, addresses, default=config.is_default_gateway),
                INDEXES[which],
                letter * (shape.alias_bytes - 1),
                shape.addrgenmode_none,
                letter.upper() * (shape.note_bytes - 1),
            )
        )
    return pods[0], pods[1]


def sample_addresses(address: PodAddress) -> tuple[Address, Address]:
    """Two addresses of the same subnet, neither of them the gateway, whose texts have the same length."""
    network = address.network
    candidates = [network[n] for n in range(min(CANDIDATES, network.num_addresses))]
    for place, first in enumerate(candidates):
        for second in candidates[place + 1 :]:
            if address.gateway not in (first, second) and len(str(first)) == len(str(second)):
                return first, second
    raise ValueError(f"{network} is too small")
