"""One node's settings: its own ranges, the cluster's, and its peers; typed, and refused where they make no sense.

The raw form (`RawSettings`) is what a file holds; `settle` makes the typed form of it, or says what is wrong and
where. Peers that did not change since the last time are not parsed again: five thousand of them cost a second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Literal

from msgspec import Struct

from podwire.cni.errors import shown
from podwire.plan.operations import Address, Network

Tunnel = Literal["auto", "always", "never"]
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
DEFAULT_VNI = 4096
DEFAULT_PORT = 4789


class SettingsError(Exception):
    """What is wrong, and `where` it stands, as `peers[3].pod_ranges`."""

    def __init__(self, where: str, words: str) -> None:
        super().__init__(words)
        self.where = where
        self.words = words


class RawPeer(Struct, frozen=True, forbid_unknown_fields=True):
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
    """Another node: where it is, which pods live there, and a tunnel setting of its own if it has one."""

    name: str
    addresses: tuple[Address, ...]
    pod_ranges: tuple[Network, ...]
    tunnel: Tunnel | None


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


Known = Mapping[RawPeer, Peer]


def settle(raw: RawSettings, host_name: str, known: Known | None = None) -> tuple[Settings, dict[RawPeer, Peer]]:
    """The checked settings, and the peers by their raw form, to be given as `known` the next time.

    Raises SettingsError: wrong values, overlapping ranges, ranges outside the cluster's, families without an
    address, a peer with this node's name.
    """
    name = raw.name or host_name
    _check_name(name, "name")
    cluster = _networks(raw.cluster_ranges, "cluster_ranges")
    own = _networks(raw.pod_ranges, "pod_ranges")
    if not own:
        raise SettingsError("pod_ranges", "is empty: give this node a range such as 10.244.1.0/24")
    addresses = _addresses(raw.addresses, "addresses")
    _check_inside(own, cluster, "pod_ranges")
    _check_numbers(raw)
    peers: dict[RawPeer, Peer] = {}
    for place, one in enumerate(raw.peers):
        peers[one] = (known or {}).get(one) or _peer(one, f"peers[{place}]")
    _check_peers(name, own, cluster, raw, peers)
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
        peers={one.name: one for one in peers.values()},
    )
    return settings, peers


def _peer(raw: RawPeer, where: str) -> Peer:
    _check_name(raw.name, f"{where}.name")
    ranges = _networks(raw.pod_ranges, f"{where}.pod_ranges")
    return Peer(raw.name, _addresses(raw.addresses, f"{where}.addresses"), ranges, raw.tunnel)


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


def _check_peers(
    name: str,
    own: Sequence[Network],
    cluster: Sequence[Network],
    raw: RawSettings,
    peers: Mapping[RawPeer, Peer],
) -> None:
    bounds = [(one.version, int(one.network_address), int(one.broadcast_address)) for one in cluster]
    spans = [_span(one, "pod_ranges", f"this node ({name})") for one in own]
    names: dict[str, int] = {}
    for place, one in enumerate(raw.peers):
        where, peer = f"peers[{place}]", peers[one]
        if peer.name == name:
            raise SettingsError(f"{where}.name", f"{name} is this node's own name: remove it from the peers")
        if peer.name in names:
            raise SettingsError(f"{where}.name", f"{peer.name} is the name of peers[{names[peer.name]}] as well")
        names[peer.name] = place
        families = {address.version for address in peer.addresses}
        for network in peer.pod_ranges:
            span = _span(network, f"{where}.pod_ranges", peer.name)
            spans.append(span)
            if not any(span[0] == family and low <= span[1] and span[2] <= high for family, low, high in bounds):
                _check_inside([network], cluster, f"{where}.pod_ranges")
            if (peer.tunnel or raw.tunnel.when) == "never" and network.version not in families:
                raise SettingsError(
                    f"{where}.pod_ranges",
                    f"{network} needs an IPv{network.version} address of the peer, or a tunnel: add one to addresses",
                )
    _check_overlap(spans)


Span = tuple[int, int, int, str, str, Network]


def _span(network: Network, where: str, whose: str) -> Span:
    first = int(network.network_address)
    return network.version, first, first + network.num_addresses - 1, where, whose, network


def _check_overlap(spans: list[Span]) -> None:
    ordered = sorted(spans, key=lambda one: one[:3])
    for before, after in pairwise(ordered):
        if before[0] == after[0] and after[1] <= before[2]:
            where = after[3] if after[3].startswith("peers") else before[3]
            raise SettingsError(
                where, f"{after[5]} of {after[4]} overlaps {before[5]} of {before[4]}: every node needs its own range"
            )
