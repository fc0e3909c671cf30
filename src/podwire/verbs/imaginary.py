"""The two imaginary pods of a network from which its stencils are made, and the values that a real one fills in."""

from __future__ import annotations

from collections.abc import Callable

from podwire.cni import document
from podwire.cni.result import encode_result
from podwire.kernel.encode import ALIAS_LENGTHS, IPV4_LETTERS, IPV6_LETTERS, encode, mac_bytes
from podwire.kernel.stencil import Stencil
from podwire.plan.blanks import UnexplainedError, blanked
from podwire.plan.operations import Address, Operation
from podwire.pod import wiring as wire
from podwire.pod.identity import Attachment, pod_mac
from podwire.pod.wiring import PodAddress, Wiring

Plan = Callable[[Wiring], list[Operation]]
INDEXES = (0x2A31C5E1, 0x2B42D6F2)
GATEWAY_INDEXES = (0x7B53E7A3, 0x7B64F8B4)
DESCRIPTORS = (0x7C75A9C5, 0x7C86BAD6)
BRIDGE_MACS = ("0e:00:00:00:00:01", "0e:00:00:00:00:02")
CANDIDATES = 8


def _filled(text: str, *lengths: int) -> bytes:
    """A text as `netlink.padded` has it."""
    raw = text.encode()
    for length in lengths:
        if len(raw) < length:
            return raw.ljust(length, b"\0")
    return raw + b"\0"


def values(wiring: Wiring, gateway_index: int, netns: int) -> dict[bytes, bytes]:
    """What stands in the blanks of messages."""
    attachment = wiring.attachment
    found = {
        b"device": attachment.device.encode(),
        b"host_mac": mac_bytes(attachment.host_mac),
        b"pod_mac": mac_bytes(wiring.pod_mac),
        b"index": wiring.index.to_bytes(4, "little"),
        b"pod_index": wiring.pod_index.to_bytes(4, "little"),
        b"netns": netns.to_bytes(4, "little"),
        b"gateway": gateway_index.to_bytes(4, "little"),
        b"alias": _filled(wiring.alias, *ALIAS_LENGTHS),
        b"note": _filled(wiring.note, *ALIAS_LENGTHS) if wiring.note else b"",
    }
    for place, one in enumerate(wiring.addresses):
        ip = one.ip
        found[b"ip%d" % place] = packed = ip.packed
        found[b"altname%d" % place] = _filled(str(ip), IPV4_LETTERS if len(packed) == 4 else IPV6_LETTERS)
    return found


def shape(wiring: Wiring, found: dict[bytes, bytes]) -> object:
    """What wirings of one network must share to share their stencils."""
    ranges = [(one.prefix, one.gateway) for one in wiring.addresses]
    return (wiring.attachment.ifname, len(found[b"alias"]), len(found[b"note"]), *ranges)


def words(wiring: Wiring, bridge_mac: str) -> dict[bytes, bytes]:
    """What stands in the blanks of an answer."""
    attachment = wiring.attachment
    found = {
        b"device": attachment.device.encode(),
        b"host_mac": attachment.host_mac.encode(),
        b"pod_mac": wiring.pod_mac.encode(),
        b"bridge_mac": bridge_mac.encode(),
        b"sandbox": document.dump(wiring.sandbox)[1:-1],
    }
    for place, one in enumerate(wiring.addresses):
        found[b"ip%d" % place] = str(one.ip).encode()
    return found


def answer(wiring: Wiring, bridge_mac: str) -> bytes:
    """What ADD prints: the attachment behind what plug-ins before it did."""
    own = wire.result(wiring, bridge_mac, wiring.config.pod_mtu)
    previous = wiring.config.prev_result
    whole = previous.joined(own) if previous else own
    return document.dump(encode_result(whole, wiring.config.version))


def stencil(plan: Plan, wiring: Wiring) -> Stencil | None:
    """The stencil of a plan for all wirings of this one's shape; None where there can be none, or nothing to do."""
    pods = _imagined(wiring)
    messages = [
        [encode(operation, index_of, netns) for operation in plan(pod)]
        for pod, netns, index_of in zip(pods, DESCRIPTORS, map(_index_of, pods, (0, 1)), strict=True)
    ]
    known = [values(pod, GATEWAY_INDEXES[which], DESCRIPTORS[which]) for which, pod in enumerate(pods)]
    try:
        return Stencil((messages[0], messages[1]), (known[0], known[1])) if messages[0] else None
    except UnexplainedError:
        return None


def answer_format(wiring: Wiring) -> bytes | None:
    """The answer with blanks, for all wirings of this one's shape; None where there can be none."""
    one, other = (answer(pod, mac) for pod, mac in zip(_imagined(wiring), BRIDGE_MACS, strict=True))
    known = [words(pod, mac) for pod, mac in zip(_imagined(wiring), BRIDGE_MACS, strict=True)]
    try:
        return blanked(one, other, (known[0], known[1]))
    except UnexplainedError:
        return None


def _index_of(pod: Wiring, which: int) -> Callable[[str], int]:
    """`lo` is the first device everywhere; what is none of the pod's is the gateway device."""
    here = {wire.LOOPBACK: 1, pod.device: pod.index, pod.ifname: pod.pod_index}
    return lambda name: here.get(name, GATEWAY_INDEXES[which])


def _imagined(wiring: Wiring) -> list[Wiring]:
    """Two pods that differ in everything in which pods of this wiring's shape can differ."""
    found = values(wiring, 0, 0)
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
                letter * (len(found[b"alias"]) - 1),
                wiring.quiet6,
                letter.upper() * (len(found[b"note"]) - 1),
            )
        )
    return pods


def stand_ins(one: PodAddress) -> tuple[Address, Address]:
    """Two addresses of a range, neither of them the gateway, whose texts are of one length."""
    network = one.network
    candidates = [network[n] for n in range(min(CANDIDATES, network.num_addresses))]
    for place, first in enumerate(candidates):
        for second in candidates[place + 1 :]:
            if one.gateway not in (first, second) and len(str(first)) == len(str(second)):
                return first, second
    raise ValueError(f"{network} is too small")
