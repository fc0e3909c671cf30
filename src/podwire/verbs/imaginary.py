"""The two imaginary pods of a network from which its stencils are made, and the values that a real one fills in."""

from __future__ import annotations

from collections.abc import Callable

from podwire.cni import document
from podwire.cni.result import encode_result
from podwire.kernel.encode import ALIAS_LENGTHS, IPV4_LETTERS, IPV6_LETTERS, encode, mac_bytes
from podwire.kernel.netlink import filled
from podwire.kernel.read import Link
from podwire.kernel.stencil import Stencil
from podwire.plan.blanks import UnexplainedError, Values, blanked
from podwire.plan.operations import Address, Operation
from podwire.pod import wiring as wire
from podwire.pod.identity import Attachment, pod_mac
from podwire.pod.wiring import PodAddress, Wiring

Plan = Callable[[Wiring], list[Operation]]
INDEXES = (0x2A31C5E1, 0x2B42D6F2)
DESCRIPTORS = (0x7C75A9C5, 0x7C86BAD6)
GATEWAYS = tuple(
    Link(index, "imaginary", 0, 0, mac, 0, "", "", ())
    for index, mac in ((0x7B53E7A3, "0e:00:00:00:00:01"), (0x7B64F8B4, "0e:00:00:00:00:02"))
)
CANDIDATES = 8


def values(wiring: Wiring, gateway: Link, netns: int) -> dict[bytes, bytes]:
    """What stands in the blanks of messages, and of the answer (names with `text`)."""
    attachment = wiring.attachment
    found = {
        b"device": attachment.device.encode(),
        b"host_mac": mac_bytes(attachment.host_mac),
        b"pod_mac": mac_bytes(wiring.pod_mac),
        b"index": wiring.index.to_bytes(4, "little"),
        b"pod_index": wiring.pod_index.to_bytes(4, "little"),
        b"netns": netns.to_bytes(4, "little"),
        b"gateway": gateway.index.to_bytes(4, "little"),
        b"alias": filled(wiring.alias, *ALIAS_LENGTHS),
        b"note": filled(wiring.note, *ALIAS_LENGTHS) if wiring.note else b"",
        b"text_host_mac": attachment.host_mac.encode(),
        b"text_pod_mac": wiring.pod_mac.encode(),
        b"text_bridge_mac": gateway.mac.encode(),
        b"text_sandbox": document.quoted(wiring.sandbox),
    }
    for place, one in enumerate(wiring.addresses):
        text, packed = str(one.ip), one.ip.packed
        found[b"ip%d" % place] = packed
        found[b"text_ip%d" % place] = text.encode()
        found[b"altname%d" % place] = filled(text, IPV4_LETTERS if len(packed) == 4 else IPV6_LETTERS)
    return found


def shape(wiring: Wiring, found: dict[bytes, bytes]) -> object:
    """What wirings of one network must share to share their stencils."""
    ranges = [(one.prefix, one.gateway) for one in wiring.addresses]
    return (wiring.attachment.ifname, len(found[b"alias"]), len(found[b"note"]), *ranges)


def answer(wiring: Wiring, bridge_mac: str) -> bytes:
    """What ADD prints: the attachment behind what plug-ins before it did."""
    own = wire.result(wiring, bridge_mac, wiring.config.pod_mtu)
    previous = wiring.config.prev_result
    whole = previous.joined(own) if previous else own
    return document.dump(encode_result(whole, wiring.config.version))


def stencil(plan: Plan, wiring: Wiring) -> Stencil | None:
    """The stencil of a plan for all wirings of this one's shape; None where there can be none, or nothing to do."""
    one, other = _imagined(wiring)
    first, second = (
        [encode(operation, _index_of(pod, gateway), netns) for operation in plan(pod)]
        for pod, gateway, netns in zip((one, other), GATEWAYS, DESCRIPTORS, strict=True)
    )
    try:
        return Stencil((first, second), _known(one, other)) if first else None
    except UnexplainedError:
        return None


def answer_format(wiring: Wiring) -> bytes | None:
    """The answer with blanks, for all wirings of this one's shape; None where there can be none."""
    one, other = _imagined(wiring)
    try:
        return blanked(answer(one, GATEWAYS[0].mac), answer(other, GATEWAYS[1].mac), _known(one, other))
    except UnexplainedError:
        return None


def _known(one: Wiring, other: Wiring) -> tuple[Values, Values]:
    return values(one, GATEWAYS[0], DESCRIPTORS[0]), values(other, GATEWAYS[1], DESCRIPTORS[1])


def _index_of(pod: Wiring, gateway: Link) -> Callable[[str], int]:
    """`lo` is the first device everywhere; what is none of the pod's is the gateway device."""
    here = {wire.LOOPBACK: 1, pod.device: pod.index, pod.ifname: pod.pod_index}
    return lambda name: here.get(name, gateway.index)


def _imagined(wiring: Wiring) -> tuple[Wiring, Wiring]:
    """Two pods that differ in everything in which pods of this wiring's shape can differ."""
    alias_bytes = len(filled(wiring.alias, *ALIAS_LENGTHS))
    note_bytes = len(filled(wiring.note, *ALIAS_LENGTHS)) if wiring.note else 1
    pairs = [stand_ins(one) for one in wiring.addresses]
    pods = []
    for which, letter in enumerate("ab"):
        attachment = Attachment("imaginary", letter, wiring.ifname)
        addresses = [
            PodAddress(pair[which], one.prefix, one.gateway) for pair, one in zip(pairs, wiring.addresses, strict=True)
        ]
        pods.append(
            Wiring(
                attachment,
                wiring.config,
                pod_mac(None, attachment.device),
                f"imaginary-{letter}",
                addresses,
                wiring.given_routes,
                INDEXES[which],
                letter * (alias_bytes - 1),
                wiring.quiet6,
                letter.upper() * (note_bytes - 1),
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
