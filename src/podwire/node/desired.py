# SPDX-License-Identifier: Apache-2.0
"""The desired state of this node, which all reconcilers share: its settings, peers, networks, and CNI configuration."""

from __future__ import annotations

from pathlib import Path

import msgspec

from podwire.datapath.peer import PeerRoutes
from podwire.datapath.peers import pod_mtu, read_underlay
from podwire.install import cni_config
from podwire.netlink.host import Host
from podwire.node.settings import NodeSettings, Peer, SettingsChange
from podwire.plugin.config import parse_configuration
from podwire.plugin.context import PluginState
from podwire.plugin.network import PodNetwork, pod_network


class DesiredState:
    """What follows from the settings. `host` is for the loop's thread, which alone changes the state.

    `networks` and `firewall` are shared with CNI calls. `peer_routes` is what the kernel must have for the peers.
    `cni_file` is the CNI configuration file and its content, None if none is to be written. `serving`: CNI calls are
    answered.
    """

    def __init__(self, host: Host, state: PluginState) -> None:
        self.host = host
        self.networks, self.firewall = state.networks, state.firewall
        self.settings: NodeSettings | None = None
        self.peers: dict[str, Peer] = {}
        self.peer_routes = PeerRoutes()
        self.cni_file: tuple[Path, bytes] | None = None
        self.serving = False
        self._network: PodNetwork | None = None

    def take_peers(self, change: SettingsChange) -> None:
        """Put changed peers in, removed peers out."""
        if change.complete:
            self.peers.clear()
        self.peers |= change.upserted
        for name in change.removed:
            self.peers.pop(name, None)

    def take_settings(self, settings: NodeSettings) -> None:
        """New settings of this node: their network takes the place of the last one.

        Raises InstallationError, NetlinkError; then the last settings stay.
        """
        underlay = read_underlay(self.host.socket)
        text = cni_config.conflist(
            settings.cni.network,
            settings.mode,
            ",".join(map(str, settings.pod_cidrs)),
            ",".join(map(str, settings.cluster_cidrs)),
            mtu=pod_mtu(settings.mtu, settings.addresses, underlay),
            masquerade=settings.masquerade,
            exceptions=[*map(str, settings.masquerade_exceptions)],
        )
        self._remember(text)
        self.settings = settings
        self.cni_file = (Path(settings.cni.conf_dir) / cni_config.FILE_NAME, text) if settings.cni.write else None

    def recall(self, folder: Path) -> None:
        """Keep the network of the CNI configuration that an earlier agent wrote, if there is one.

        Raises OSError, CniError, msgspec.DecodeError, LookupError, TypeError for a file that cannot be used.
        """
        path = folder / cni_config.FILE_NAME
        if path.exists():
            self._remember(path.read_bytes())

    def _remember(self, text: bytes) -> None:
        whole = msgspec.json.decode(text)
        network = pod_network(parse_configuration(cni_config.plugin_input(whole["name"], whole["plugins"][0])))
        self.networks.remember(network, instead_of=self._network)
        self._network = network
