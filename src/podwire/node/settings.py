# SPDX-License-Identifier: Apache-2.0
"""The settings of one node and of its peers, typed and checked. No effects.

`NodeSettings.parse` and `Peer.parse` take the texts of a file or of a Node object. What is wrong is an error with the
field's name, for a peer with the peer's name as well; whoever reads a file adds the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from itertools import pairwise, product
from typing import Literal, NoReturn

from msgspec import Struct

from podwire.ip import Address, Network
from podwire.text import shown

Tunnel = Literal["auto", "always", "never"]
Mode = Literal["routed", "bridge"]
Span = tuple[int, int, int]
"""A network as (IP version, first address, last address): what thousands of networks are compared by."""

Placed = tuple[int, int, int, int]
"""A span with the place of its peer; -1 for this node."""

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
DEFAULT_VNI = 4096
DEFAULT_PORT = 4789
SMALLEST_MTU, LARGEST_MTU = 1280, 65535


class SettingsError(Exception):
    """What is wrong with a node's settings: `field` is its name in a settings file, `message` has the next step."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class PeerError(SettingsError):
    """What is wrong with the peer named `peer`; fields as in SettingsError."""

    def __init__(self, peer: str, field: str, message: str) -> None:
        super().__init__(field, message)
        self.peer = peer


class SettingsFileError(Exception):
    """Why a settings file is refused: path, line and reason in one line."""


class TunnelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[tunnel]` table: when to use VXLAN, its network identifier and its UDP port."""

    when: Tunnel = "auto"
    vni: int = DEFAULT_VNI
    port: int = DEFAULT_PORT


class CniSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[cni]` table: the configuration that the agent writes for the container runtime."""

    conf_dir: str = "/etc/cni/net.d"
    network: str = "podwire"
    write: bool = True


class CommonSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The keys that are alike on all nodes, as a file has them. `mtu` is in bytes (0: the underlay's)."""

    mode: Mode = "routed"
    mtu: int = 0
    masquerade: bool = True
    masquerade_exceptions: tuple[str, ...] = ()
    tunnel: TunnelSettings = TunnelSettings()
    cni: CniSettings = CniSettings()


class NodeSettings(Struct, frozen=True):
    """The settings of this node. `mtu` is in bytes (0: the underlay's)."""

    name: str
    addresses: tuple[Address, ...]
    pod_cidrs: tuple[Network, ...]
    cluster_cidrs: tuple[Network, ...]
    mode: Mode
    mtu: int
    masquerade: bool
    masquerade_exceptions: tuple[Network, ...]
    tunnel: TunnelSettings
    cni: CniSettings

    @classmethod
    def parse(
        cls,
        *,
        name: str,
        addresses: Sequence[str],
        pod_cidrs: Sequence[str],
        cluster_cidrs: Sequence[str],
        mode: Mode = "routed",
        mtu: int = 0,
        masquerade: bool = True,
        masquerade_exceptions: Sequence[str] = (),
        tunnel: TunnelSettings = TunnelSettings(),  # noqa: B008  immutable
        cni: CniSettings = CniSettings(),  # noqa: B008  immutable
    ) -> NodeSettings:
        """The settings that these texts mean. Raises SettingsError for the first of them that is wrong."""
        _check_name(name)
        cluster = _networks(cluster_cidrs, "cluster_cidrs")
        own = _networks(pod_cidrs, "pod_cidrs")
        if not own:
            raise SettingsError("pod_cidrs", "is empty: give this node a pod CIDR such as 10.244.1.0/24")
        own_addresses = _addresses(addresses)
        if outside := _outside(own, cluster):
            raise SettingsError("pod_cidrs", outside)
        if mtu and not SMALLEST_MTU <= mtu <= LARGEST_MTU:
            raise SettingsError("mtu", f"{mtu} is not between {SMALLEST_MTU} and {LARGEST_MTU} (0: the underlay's)")
        if not 1 <= tunnel.vni < 2**24:
            raise SettingsError("tunnel.vni", f"{tunnel.vni} is not between 1 and {2**24 - 1}")
        if not 1 <= tunnel.port < 2**16:
            raise SettingsError("tunnel.port", f"{tunnel.port} is not between 1 and 65535")
        exceptions = _networks(masquerade_exceptions, "masquerade_exceptions")
        return cls(name, own_addresses, own, cluster, mode, mtu, masquerade, exceptions, tunnel, cni)

    def check_peer(self, peer: Peer) -> None:
        """Compare a peer with this node and the cluster. Raises PeerError.

        Wrong are: this node's name or address, a pod CIDR outside the cluster's or overlapping this node's, and one
        whose family the peer has no address of, where no tunnel may be used.
        """
        if peer.name == self.name:
            raise PeerError(peer.name, "name", f"{peer.name} is this node's own name: remove it from the peers")
        for address in peer.addresses:
            if address in self.addresses:
                raise PeerError(peer.name, "addresses", _shared_address(address, self._shown_name))
        if outside := _outside(peer.pod_cidrs, self.cluster_cidrs):
            raise PeerError(peer.name, "pod_cidrs", outside)
        self._check_families(peer)
        for network, own in product(peer.pod_cidrs, self.pod_cidrs):
            if network.overlaps(own):
                raise PeerError(peer.name, "pod_cidrs", _overlap(network, peer.name, own, self._shown_name))

    def check_peers(self, peers: Sequence[Peer]) -> None:
        """Compare peers with each other, with this node and with the cluster. Raises PeerError.

        All at once, by numbers: thousands pass at every change of a file. `check_peer` words what is wrong.
        """
        spans = outside = [(*span, place) for place, peer in enumerate(peers) for span in peer.spans]
        for version, low, high in map(span_of, self.cluster_cidrs):
            outside = [span for span in outside if not (low <= span[1] and span[2] <= high and version == span[0])]
        suspects = {span[3] for span in outside}
        names, addresses = {self.name: -1}, {address.packed: self._shown_name for address in self.addresses}
        for place, peer in enumerate(peers):
            if peer.name == self.name or place in suspects or (peer.tunnel or self.tunnel.when) == "never":
                self.check_peer(peer)
            if names.setdefault(peer.name, place) != place:
                raise PeerError(peer.name, "name", f"{peer.name} is the name of peers[{names[peer.name]}] as well")
            for packed in peer.packed:
                if addresses.setdefault(packed, peer.name) != peer.name:
                    raise PeerError(peer.name, "addresses", _shared_address(ip_address(packed), addresses[packed]))
        spans += [(*span_of(network), -1) for network in self.pod_cidrs]
        spans.sort()
        for before, after in pairwise(spans):
            if after[1] <= before[2] and before[0] == after[0]:
                self._refuse_overlap(before, after, peers)

    @property
    def _shown_name(self) -> str:
        return f"this node ({self.name})"

    def _check_families(self, peer: Peer) -> None:
        """Without a tunnel, a pod CIDR is reached by an address of its own family only."""
        if (peer.tunnel or self.tunnel.when) != "never":
            return
        families = {address.version for address in peer.addresses}
        for network in peer.pod_cidrs:
            if network.version not in families:
                words = f"{network} needs an IPv{network.version} address of the peer, or a tunnel"
                raise PeerError(peer.name, "pod_cidrs", f"{words}: add one to addresses")

    def _refuse_overlap(self, before: Placed, after: Placed, peers: Sequence[Peer]) -> NoReturn:
        """Word the overlap of two networks: the second is wrong."""
        if after[3] < 0:
            before, after = after, before
        found = []
        for *span, place in (after, before):
            owner = peers[place] if place >= 0 else self
            network = next(network for network in owner.pod_cidrs if span_of(network) == tuple(span))
            found.append((network, owner.name if place >= 0 else self._shown_name))
        message = _overlap(*found[0], *found[1])
        if after[3] < 0:
            raise SettingsError("pod_cidrs", message)
        raise PeerError(peers[after[3]].name, "pod_cidrs", message)


class Peer(Struct, frozen=True):
    """Another node: its addresses, its pod CIDRs, and a tunnel setting of its own if it has one.

    `spans` are the pod CIDRs, `packed` the addresses in the form in which thousands of peers are compared.
    """

    name: str
    addresses: tuple[Address, ...]
    pod_cidrs: tuple[Network, ...]
    tunnel: Tunnel | None
    spans: tuple[Span, ...]
    packed: tuple[bytes, ...]

    @classmethod
    def parse(cls, name: str, addresses: Sequence[str], pod_cidrs: Sequence[str], tunnel: Tunnel | None = None) -> Peer:
        """The peer that these texts mean, checked by itself. Raises PeerError."""
        try:
            _check_name(name)
            networks = _networks(pod_cidrs, "pod_cidrs")
            found = _addresses(addresses)
        except SettingsError as wrong:
            raise PeerError(name, wrong.field, wrong.message) from None
        return cls(name, found, networks, tunnel, tuple(map(span_of, networks)), tuple(entry.packed for entry in found))


class SettingsChange(Struct, frozen=True):
    """What changed in a node's settings since the last time.

    `settings`: this node's own, None where they did not change. `upserted`: peers that are new or different, by name.
    `removed`: names of peers that are gone. `complete`: `upserted` is the whole set, whatever was known before.
    `began`: when the source began to read what changed (`time.perf_counter`), 0 where it does not say.
    """

    settings: NodeSettings | None = None
    upserted: Mapping[str, Peer] = {}
    removed: frozenset[str] = frozenset()
    complete: bool = False
    began: float = 0.0


def span_of(network: Network) -> Span:
    """A network as a span."""
    first = int(network.network_address)
    return network.version, first, first + network.num_addresses - 1


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError("name", f"{shown(name)} is not a node name: use lower-case letters, digits, '-' and '.'")


def _addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    found: list[Address] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            raise SettingsError(
                "addresses", f"{shown(text)} is not an IP address: write it like 192.168.33.11"
            ) from None
        if address.is_unspecified or address.is_multicast or address.is_loopback:
            words = f"{address} cannot be a node's address: give the address that other nodes reach"
            raise SettingsError("addresses", words)
        if any(other.version == address.version for other in found):
            words = f"{shown(list(texts))} has two addresses of a family: give one of each at most"
            raise SettingsError("addresses", words)
        found.append(address)
    if not found:
        raise SettingsError("addresses", "is empty: give the address by which other nodes reach this node")
    return tuple(found)


def _networks(texts: Sequence[str], field: str) -> tuple[Network, ...]:
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError as wrong:
            hint = "set the host bits to zero" if "host bits" in str(wrong) else "write it like 10.244.1.0/24"
            raise SettingsError(field, f"{shown(text)} is not a CIDR: {hint}") from None
    return tuple(found)


def _outside(networks: Sequence[Network], cluster: Sequence[Network]) -> str:
    """Why a network is not in the cluster's; "" if all are."""
    for network in networks:
        if not any(network.version == whole.version and network.subnet_of(whole) for whole in cluster):  # type: ignore[arg-type]
            listed = ", ".join(map(str, cluster)) or "(cluster_cidrs is empty)"
            return f"{network} lies outside the cluster CIDRs {listed}: correct one of the two"
    return ""


def _shared_address(address: Address, owner: str) -> str:
    return f"{address} is an address of {owner} as well: every node needs its own"


def _overlap(network: Network, owner: str, other: Network, other_owner: str) -> str:
    return f"{network} of {owner} overlaps {other} of {other_owner}: every node needs its own pod CIDR"
