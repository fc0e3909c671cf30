# SPDX-License-Identifier: Apache-2.0
"""The CNI configuration that podwire writes for the container runtime (a conflist): its name and its content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import msgspec

from podwire.cni.errors import CniError
from podwire.cni.versions import SUPPORTED
from podwire.install.errors import InstallationError
from podwire.plugin.config import parse_configuration

FILE_NAME = "10-podwire.conflist"
DEFAULT_CLUSTER = "10.244.0.0/16"
# podman 4 and containerd 1.6 refuse results of 1.1.0; newer readers take the newest of `cniVersions`.
OLDEST_READERS = "1.0.0"


def conflist(
    name: str,
    mode: str,
    subnet: str,
    network: str | None,
    *,
    mtu: int = 0,
    masquerade: bool = True,
    exceptions: Sequence[str] = (),
) -> bytes:
    """The conflist. `mtu` is in bytes. Raises InstallationError for values that the plugin itself would refuse."""
    plugin: dict[str, Any] = {"type": "podwire", "mode": mode, "subnet": subnet, "ipMasq": masquerade}
    if cluster := network or _default_cluster(subnet):
        plugin["network"] = cluster
    plugin["capabilities"] = {"portMappings": True, "bandwidth": True}
    if mtu:
        plugin["mtu"] = mtu
    if exceptions:
        plugin["nonMasqueradeCIDRs"] = list(exceptions)
    try:
        parse_configuration(plugin_input(name, plugin))
    except CniError as wrong:
        raise InstallationError(f"{wrong}: nothing was installed") from None
    whole = {"cniVersion": OLDEST_READERS, "cniVersions": list(SUPPORTED), "name": name, "plugins": [plugin]}
    return msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"


def plugin_input(name: str, plugin: Mapping[str, Any]) -> bytes:
    """The network configuration of one plugin of a conflist, as the runtime passes it to the plugin."""
    return msgspec.json.encode({"cniVersion": OLDEST_READERS, "name": name, **plugin})


def _default_cluster(subnet: str) -> str:
    """The cluster CIDR where none is given: the usual one, if the whole subnet is in it."""
    try:
        networks = [ip_network(text.strip(), strict=False) for text in subnet.split(",")]
    except ValueError:
        return ""
    cluster = ip_network(DEFAULT_CLUSTER)
    inside = all(network.version == 4 and network.subnet_of(cluster) for network in networks)  # type: ignore[arg-type]
    return DEFAULT_CLUSTER if inside else ""
