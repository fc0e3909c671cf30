"""What all nodes of a cluster have in common: the agent's file for Kubernetes (TOML), with a default for every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from podwire.node.old_settings import RawCni, RawPeer, RawSettings, RawTunnel, settle
from podwire.node.old_settings_file import read


class Common(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of the agent's file, without those that the API server knows: name, addresses, ranges, peers."""

    cluster_ranges: tuple[str, ...] = ("10.244.0.0/16",)
    mode: Literal["routed", "bridge"] = "routed"
    mtu: int = 0
    masquerade: bool = True
    masquerade_exceptions: tuple[str, ...] = ()
    tunnel: RawTunnel = RawTunnel()
    cni: RawCni = RawCni()


def load_common(path: Path | None) -> Common:
    """The file's settings, checked; without a file the defaults. Raises SettingsFileError."""
    return read(path, _convert) if path else Common()


def _convert(document: dict[str, Any]) -> Common:
    common = msgspec.convert(document, Common)
    # A node whose range is the whole cluster's: wrong values show at the start and not when Nodes arrive.
    settle(raw_settings(common, "node", ("192.0.2.1", "2001:db8::1"), common.cluster_ranges, ()), "node")
    return common


def raw_settings(
    common: Common,
    name: str,
    addresses: tuple[str, ...],
    pod_ranges: tuple[str, ...],
    peers: tuple[RawPeer, ...],
) -> RawSettings:
    """A node's settings as its own file would have them."""
    return RawSettings(
        name=name,
        addresses=addresses,
        pod_ranges=pod_ranges,
        cluster_ranges=common.cluster_ranges,
        mode=common.mode,
        mtu=common.mtu,
        masquerade=common.masquerade,
        masquerade_exceptions=common.masquerade_exceptions,
        tunnel=common.tunnel,
        cni=common.cni,
        peers=peers,
    )
