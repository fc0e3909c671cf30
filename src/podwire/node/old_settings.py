"""One node's settings: its own ranges, the cluster's, and its peers; typed, and refused where they make no sense.

The raw form (`RawSettings`) is what a file holds; `settle` makes the typed form of it, or says what is wrong and
where. Peers that did not change since the last time are not typed again: five thousand of them cost 0.2 s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from podwire.ip import Address, Network
from podwire.text import shown

Tunnel = Literal["auto", "always", "never"]
Span = tuple[int, int, int]
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
DEFAULT_VNI = 4096
DEFAULT_PORT = 4789


class SettingsError(Exception):
    """What is wrong, and `where` it stands, as `peers[3].pod_ranges`."""

    def __init__(self, where: str, words: str) -> None:
        super().__init__(words)
        self.where = where
        self.words = words


class RawPeer(Struct, frozen=True, forbid_unknown_fields=True, cache_hash=True):
    """A peer as a file has it."""

    name: str
    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...]
    tunnel: Tunnel | None = None


class RawTunnel(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[tunnel]` table: when to use VXLAN, and how."""

    when: Tunnel = "auto"
    vni: int = DEFAULT_VNI
    port: int = DEFAULT_PORT


class RawCni(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[cni]` table: the configuration that the agent writes for the container runtime."""

    conf_dir: str = "/etc/cni/net.d"
    network: str = "podwire"
    write: bool = True


class RawSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A node's settings as a file has them."""

    addresses: tuple[str, ...]
    pod_ranges: tuple[str, ...]
    cluster_ranges: tuple[str, ...]
    name: str = ""
    mode: Literal["routed", "bridge"] = "routed"
    mtu: int = 0
    masquerade: bool = True
    masquerade_exceptions: tuple[str, ...] = ()
    tunnel: RawTunnel = RawTunnel()
    cni: RawCni = RawCni()
    peers: tuple[RawPeer, ...] = ()


class Peer(Struct, frozen=True):
    """Another node: where it is, which pods live there, and a tunnel setting of its own if it has one.

    `spans` are the pod ranges as (family, first, last), `packed` the addresses: what all peers are compared by.
    """

    name: str
    addresses: tuple[Address, ...]
    pod_ranges: tuple[Network, ...]
    tunnel: Tunnel | None
    spans: tuple[Span, ...]
    packed: tuple[bytes, ...]


class Settings(Struct, frozen=True):
    """One node's settings, checked."""

    name: str
    addresses: tuple[Address, ...]
    pod_ranges: tuple[Network, ...]
    cluster: tuple[Network, ...]
    mode: str
    mtu: int
    masquerade: bool
    exceptions: tuple[Network, ...]
    tunnel: Tunnel
    vni: int
    port: int
    cni: RawCni
    peers: Mapping[str, Peer]


def same_but_peers(one: Settings, other: Settings) -> bool:
    """Is all that is not the peers the same in both?"""
    return replace(one, peers={}) == replace(other, peers={})


Known = Mapping[RawPeer, Peer]


def settle(raw: RawSettings, host_name: str, known: Known | None = None) -> tuple[Settings, dict[RawPeer, Peer]]:
    """The checked settings, and the peers by their raw form, to be given as `known` the next time.

    Raises SettingsError: wrong values, overlapping ranges, ranges outside the cluster's, families without an
    address, a peer with this node's name or with an address of another node.
    """
    peers = typed_peers(raw.peers, known)
    return settle_with(raw, host_name, peers), dict(zip(raw.peers, peers, strict=True))


def typed_peers(raw: Sequence[RawPeer], known: Known | None = None) -> list[Peer]:
    """Peers, each checked by itself; raises SettingsError."""
    found = (known or {}).get
    return [found(one) or _peer(one, f"peers[{place}]") for place, one in enumerate(raw)]


def settle_with(raw: RawSettings, host_name: str, peers: Sequence[Peer]) -> Settings:
    """As `settle`, with peers that are typed already; those of `raw` are not looked at."""
    name = raw.name or host_name
    _check_name(name, "name")
    cluster = _networks(raw.cluster_ranges, "cluster_ranges")
    own = _networks(raw.pod_ranges, "pod_ranges")
    if not own:
        raise SettingsError("pod_ranges", "is empty: give this node a range such as 10.244.1.0/24")
    addresses = _addresses(raw.addresses, "addresses")
    _check_inside(own, cluster, "pod_ranges")
    _check_numbers(raw)
    settings = Settings(
        name=name,
        addresses=addresses,
        pod_ranges=own,
        cluster=cluster,
        mode=raw.mode,
        mtu=raw.mtu,
        masquerade=raw.masquerade,
        exceptions=_networks(raw.masquerade_exceptions, "masquerade_exceptions"),
        tunnel=raw.tunnel.when,
        vni=raw.tunnel.vni,
        port=raw.tunnel.port,
        cni=raw.cni,
        peers={one.name: one for one in peers},
    )
    _check_peers(settings, peers)
    return settings


def _peer(raw: RawPeer, where: str) -> Peer:
    _check_name(raw.name, f"{where}.name")
    ranges = _networks(raw.pod_ranges, f"{where}.pod_ranges")
    addresses = _addresses(raw.addresses, f"{where}.addresses")
    packed = tuple(one.packed for one in addresses)
    return Peer(raw.name, addresses, ranges, raw.tunnel, tuple(map(_span, ranges)), packed)


def _check_name(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError(where, f"{shown(name)} is not a node name: use lower-case letters, digits, '-' and '.'")


def _check_numbers(raw: RawSettings) -> None:
    if raw.mtu and not 1280 <= raw.mtu <= 65535:
        raise SettingsError("mtu", f"{raw.mtu} is not between 1280 and 65535 (0: the underlay's)")
    if not 1 <= raw.tunnel.vni < 2**24:
        raise SettingsError("tunnel.vni", f"{raw.tunnel.vni} is not between 1 and {2**24 - 1}")
    if not 1 <= raw.tunnel.port < 2**16:
        raise SettingsError("tunnel.port", f"{raw.tunnel.port} is not between 1 and 65535")


def _addresses(texts: Sequence[str], where: str) -> tuple[Address, ...]:
    found: list[Address] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            raise SettingsError(where, f"{shown(text)} is not an IP address: write it like 192.168.33.11") from None
        if address.is_unspecified or address.is_multicast or address.is_loopback:
            raise SettingsError(where, f"{address} cannot be a node's address: give the one that other nodes reach")
        if any(one.version == address.version for one in found):
            raise SettingsError(where, f"{shown(list(texts))} has two addresses of a family: give one of each at most")
        found.append(address)
    if not found:
        raise SettingsError(where, "is empty: give the address by which other nodes reach it")
    return tuple(found)


def _networks(texts: Sequence[str], where: str) -> tuple[Network, ...]:
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as wrong:
            hint = "set the host bits to zero" if "host bits" in str(wrong) else "write it like 10.244.1.0/24"
            raise SettingsError(where, f"{shown(text)} is not an address range: {hint}") from None
    return tuple(found)


def _check_inside(ranges: Sequence[Network], cluster: Sequence[Network], where: str) -> None:
    for one in ranges:
        if not any(one.version == whole.version and one.subnet_of(whole) for whole in cluster):  # type: ignore[arg-type]
            all_of_it = ", ".join(str(whole) for whole in cluster) or "(cluster_ranges is empty)"
            raise SettingsError(where, f"{one} lies outside the cluster's ranges {all_of_it}: correct one of the two")


def _check_peers(settings: Settings, peers: Sequence[Peer]) -> None:
    """Peers against each other and this node: all at once, since thousands pass at every change.

    Only when something is wrong, it is looked for and put into words.
    """
    names = {one.name for one in peers}
    nodes = [packed for one in peers for packed in one.packed] + [one.packed for one in settings.addresses]
    if len(names) < len(peers) or settings.name in names or len(set(nodes)) < len(nodes):
        _refuse_shared(settings, peers)
    spans = [(*span, place) for place, one in enumerate(peers) for span in one.spans]
    outside = spans
    for version, low, high in map(_span, settings.cluster):
        outside = [one for one in outside if not (low <= one[1] and one[2] <= high and version == one[0])]
    if outside:
        place = outside[0][3]
        _check_inside(peers[place].pod_ranges, settings.cluster, f"peers[{place}].pod_ranges")
    for place, one in enumerate(peers):
        if (one.tunnel or settings.tunnel) == "never":
            _check_families(one, f"peers[{place}].pod_ranges")
    spans += [(*_span(one), -1) for one in settings.pod_ranges]
    spans.sort()
    for before, after in pairwise(spans):
        if after[1] <= before[2] and before[0] == after[0]:
            _refuse_overlap(before, after, settings, peers)


def _refuse_shared(settings: Settings, peers: Sequence[Peer]) -> None:
    """Find the name or the address that two nodes have."""
    names: dict[str, int] = {settings.name: -1}
    nodes = {one.packed: -1 for one in settings.addresses}
    for place, peer in enumerate(peers):
        if names.setdefault(peer.name, place) != place:
            raise SettingsError(f"peers[{place}].name", _taken_name(peer.name, names[peer.name]))
        for packed in peer.packed:
            if nodes.setdefault(packed, place) != place:
                whose = _whose(nodes[packed], settings, peers)
                raise SettingsError(
                    f"peers[{place}].addresses",
                    f"{ip_address(packed)} is an address of {whose} as well: every node needs its own",
                )


def _span(network: Network) -> Span:
    first = int(network.network_address)
    return network.version, first, first + network.num_addresses - 1


def _taken_name(name: str, place: int) -> str:
    if place < 0:
        return f"{name} is this node's own name: remove it from the peers"
    return f"{name} is the name of peers[{place}] as well"


def _whose(place: int, settings: Settings, peers: Sequence[Peer]) -> str:
    return peers[place].name if place >= 0 else f"this node ({settings.name})"


def _check_families(peer: Peer, where: str) -> None:
    """Without a tunnel, a range is reached by an address of its own family only."""
    families = {address.version for address in peer.addresses}
    for network in peer.pod_ranges:
        if network.version not in families:
            raise SettingsError(
                where, f"{network} needs an IPv{network.version} address of the peer, or a tunnel: add one to addresses"
            )


def _refuse_overlap(
    before: tuple[int, int, int, int], after: tuple[int, int, int, int], settings: Settings, peers: Sequence[Peer]
) -> None:
    def told(one: tuple[int, int, int, int]) -> str:
        ranges = peers[one[3]].pod_ranges if one[3] >= 0 else settings.pod_ranges
        found = next(network for network in ranges if _span(network) == one[:3])
        return f"{found} of {_whose(one[3], settings, peers)}"

    place = after[3] if after[3] >= 0 else before[3]
    where = f"peers[{place}].pod_ranges" if place >= 0 else "pod_ranges"
    raise SettingsError(where, f"{told(after)} overlaps {told(before)}: every node needs its own range")
