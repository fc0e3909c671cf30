# SPDX-License-Identifier: Apache-2.0
"""The names of an attachment: its device on the host, the alias that identifies it, its MACs.

All follow from (network, container ID, interface name), so a second attachment with the same three is impossible.
"""

from __future__ import annotations

import time
from functools import lru_cache

from podwire.digest import blake2b
from podwire.ip import Address
from podwire.record import Record

PREFIX = "pw"
EGRESS_PREFIX = "pi"
DEVICE_LETTERS = 15
ALIAS_MARK = "podwire"
MADE_ALIAS = "podwire made"  # the alias of bridges and VXLAN devices that podwire made; more words may follow
ALIAS_BYTES = 254  # the kernel takes 255 with the NUL that ends the string (IFALIASZ, dev_set_alias())
FIELD_BYTES = 100
NETWORK_LETTERS = 4
ATTACHMENT_LETTERS = 9
# Five bits a letter, in an order that sorts like the bits (RFC 4648, base32hex).
BASE32 = "0123456789abcdefghijklmnopqrstuv"
NAME_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.-"
NAME_ENDS = frozenset(NAME_LETTERS[:-2])


class Attachment(Record):
    """What identifies an attachment (section 2: Operations), and the pod's `namespace/name` for display.

    `device` (computed): `pw`, 20 bits of the network name's hash, 45 bits of the whole identity's hash. `host_mac`
    (computed): its MAC, locally administered, from the same hash.
    """

    network: str
    container_id: str
    ifname: str
    pod: str = ""
    device: str = ""
    host_mac: str = ""

    def __init__(self, network: str, container_id: str, ifname: str, pod: str = "") -> None:
        device, host_mac = names(network, container_id, ifname)
        super().__init__(network, container_id, ifname, pod, device, host_mac.hex(":"))

    def alias(self, since: str) -> str:
        return alias_of(self.network, self.container_id, self.ifname, since, self.pod)


def names(network: str, container_id: str, ifname: str) -> tuple[str, bytes]:
    """The name and the MAC of an attachment's device on the host."""
    digest = _digest(f"{network}\0{container_id}\0{ifname}")
    device = network_prefix(network) + _letters(digest, ATTACHMENT_LETTERS)
    return device, bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]


def alias_of(network: str, container_id: str, ifname: str, since: str, pod: str) -> str:
    """`podwire <network> <container ID> <ifname> <since> [<namespace>/<pod>]`, at most 254 bytes.

    `since` is the time of ADD, UTC in ISO 8601. A field that is too long is a hash behind `~`; the pod's name is cut.
    """
    if len(network) > FIELD_BYTES or len(container_id) > FIELD_BYTES:
        network, container_id = alias_field(network), alias_field(container_id)
    alias = f"{ALIAS_MARK} {network} {container_id} {ifname} {since}"
    return f"{alias} {pod}".encode()[:ALIAS_BYTES].decode() if _is_pod(pod) else alias


@lru_cache(maxsize=64)
def network_prefix(network: str) -> str:
    """The prefix of the devices of a network's attachments: GC finds them by it even without alias."""
    return PREFIX + _letters(_digest(network), NETWORK_LETTERS)


def egress_device(device: str) -> str:
    """An attachment's egress device (kind ifb): `pi` in place of `pw`."""
    return EGRESS_PREFIX + device[len(PREFIX) :]


def device_of_egress(name: str) -> str:
    return PREFIX + name[len(EGRESS_PREFIX) :]


class Owner(Record):
    """What an alias holds: the identity (long names as hashes), the time of ADD, and the pod if there is one."""

    network: str
    container_id: str
    ifname: str
    since: str
    pod: str = ""


def parse_alias(alias: str) -> Owner | None:
    """The owner of a device by its alias; None if the device is not an attachment's."""
    words = alias.split(" ")
    if len(words) not in (5, 6) or words[0] != ALIAS_MARK:
        return None
    return Owner(*words[1:])


def pod_mac(address: Address | None, device: str) -> str:
    """The MAC of the pod's end: `mac_of_address`; without an address it follows from the device's name."""
    return mac_of_address(address.packed if address is not None else f"pod {device}".encode()).hex(":")


def mac_of_address(packed: bytes) -> bytes:
    """`0a:58` and the IPv4 address, or an IPv6 one's hash: a new lease has the same MAC, so neighbour caches stay
    valid."""
    return b"\x0a\x58" + (packed if len(packed) == 4 else blake2b(packed, digest_size=4).digest())


_clock = (0, "")


def current_time() -> str:
    """The current time for an alias: UTC in ISO 8601. The text is made once a second."""
    global _clock  # noqa: PLW0603  all threads write the same text
    second, text = _clock
    now = int(time.time())
    if now != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        _clock = now, text
    return text


def _digest(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogateescape"), digest_size=10).digest()


def _letters(digest: bytes, count: int) -> str:
    bits = int.from_bytes(digest, "big")  # the first of them make the letters, at most 16
    return "".join([BASE32[bits >> shift & 31] for shift in range(75, 75 - 5 * count, -5)])


def _is_pod(text: str) -> bool:
    """`namespace/name`, both as Kubernetes allows them (RFC 1123)?"""
    namespace, _, name = text.partition("/")
    both = namespace, name
    return all(part and not part.strip(NAME_LETTERS) and {part[0], part[-1]} <= NAME_ENDS for part in both)


def alias_field(text: str) -> str:
    """A network's name or a container ID as aliases hold it: a hash if it is too long."""
    if len(text) <= FIELD_BYTES:
        return text
    return "~" + blake2b(text.encode(), digest_size=16).hexdigest()
