"""An attachment's names: its device on the host, the alias that says whose it is, its MACs.

All are functions of (network, container ID, interface name): whoever knows these three finds the attachment
without a state file, and nobody can make a second one.
"""

from __future__ import annotations

from functools import lru_cache

from podwire.digest import blake2b
from podwire.ip import Address
from podwire.record import Record

PREFIX = "pw"
EGRESS_PREFIX = "pi"
DEVICE_LETTERS = 15
ALIAS_MARK = "podwire"
ALIAS_BYTES = 254
"""The kernel takes 255 with the NUL that ends the string (IFALIASZ, dev_set_alias())."""

FIELD_BYTES = 100
NETWORK_LETTERS = 4
ATTACHMENT_LETTERS = 9
BASE32 = "0123456789abcdefghijklmnopqrstuv"
"""Five bits a letter, in an order that sorts as the bits do (RFC 4648, base32hex)."""

NAME_ENDS = "abcdefghijklmnopqrstuvwxyz0123456789"
NAME_LETTERS = NAME_ENDS + ".-"


class Attachment(Record):
    """What identifies an attachment (section 2: Operations), and the pod's `namespace/name` for people.

    `device` is the host's device: `pw`, 20 bits of the network's name, 45 bits of the whole identity.
    `host_mac` is its MAC: locally administered, of the same hash. Both are computed, never given.
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
        """What `alias_of` says for this attachment."""
        return alias_of(self.network, self.container_id, self.ifname, since, self.pod)


def names(network: str, container_id: str, ifname: str) -> tuple[str, bytes]:
    """The host's device and its MAC, of an attachment."""
    digest = _digest(f"{network}\0{container_id}\0{ifname}")
    device = network_prefix(network) + _letters(digest, ATTACHMENT_LETTERS)
    return device, bytes([digest[0] & 0xFC | 0x02]) + digest[1:6]


def alias_of(network: str, container_id: str, ifname: str, since: str, pod: str) -> str:
    """`podwire <network> <container ID> <ifname> <since> [<namespace>/<pod>]`, at most 254 bytes.

    `since` is the time of ADD, UTC in ISO 8601. A field that is too long is shortened to a hash behind `~`;
    the pod's name is cut.
    """
    if len(network) > FIELD_BYTES or len(container_id) > FIELD_BYTES:
        network, container_id = _short(network), _short(container_id)
    alias = f"{ALIAS_MARK} {network} {container_id} {ifname} {since}"
    return f"{alias} {pod}".encode()[:ALIAS_BYTES].decode() if _is_pod(pod) else alias


@lru_cache(maxsize=64)
def network_prefix(network: str) -> str:
    """What the devices of all attachments of a network begin with: GC knows them by it even without alias."""
    return PREFIX + _letters(_digest(network), NETWORK_LETTERS)


def egress_device(device: str) -> str:
    """The name of the device through which the packets of a limited pod are led: `pi` in the place of `pw`."""
    return EGRESS_PREFIX + device[len(PREFIX) :]


def device_of_egress(name: str) -> str:
    """The attachment's device that an egress device belongs to."""
    return PREFIX + name[len(EGRESS_PREFIX) :]


class Owner(Record):
    """What an alias tells: the identity (long names as hashes), since when, and the pod if it has one."""

    network: str
    container_id: str
    ifname: str
    since: str
    pod: str = ""


def parse_alias(alias: str) -> Owner | None:
    """Whose a device is by its alias, or None if it is no attachment's."""
    words = alias.split(" ")
    if len(words) not in (5, 6) or words[0] != ALIAS_MARK:
        return None
    return Owner(*words[1:])


def alias_network(network: str) -> str:
    """A network's name as aliases spell it."""
    return _short(network)


def pod_mac(address: Address | None, device: str) -> str:
    """The MAC of the pod's end: `mac_of_address`; a pod without addresses has one of its device's name."""
    return mac_of_address(address.packed if address is not None else f"pod {device}".encode()).hex(":")


def mac_of_address(packed: bytes) -> bytes:
    """`0a:58` and the IPv4 address, so an address that returns has its old MAC: neighbour caches stay right.

    It is made from an IPv6 address where there is no other.
    """
    return b"\x0a\x58" + (packed if len(packed) == 4 else blake2b(packed, digest_size=4).digest())


def _digest(text: str) -> bytes:
    return blake2b(text.encode(errors="surrogateescape"), digest_size=10).digest()


def _letters(digest: bytes, count: int) -> str:
    """The first bits of a digest as `count` letters, at most 16."""
    bits = int.from_bytes(digest, "big")
    return "".join([BASE32[bits >> shift & 31] for shift in range(75, 75 - 5 * count, -5)])


def _is_pod(text: str) -> bool:
    """`namespace/name`, both as Kubernetes allows them (RFC 1123)?"""
    namespace, _, name = text.partition("/")
    return _is_name(namespace) and _is_name(name)


def _is_name(text: str) -> bool:
    return bool(text) and not text.strip(NAME_LETTERS) and text[0] in NAME_ENDS and text[-1] in NAME_ENDS


def _short(text: str) -> str:
    if len(text) <= FIELD_BYTES:
        return text
    return "~" + blake2b(text.encode(), digest_size=16).hexdigest()
