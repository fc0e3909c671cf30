# SPDX-License-Identifier: Apache-2.0
"""The settings of the whole cluster: the agent's file for Kubernetes (TOML), with a default for every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict

from podwire.node.settings import CommonSettings, NodeSettings
from podwire.node.settings_file import Warn, read


class ClusterSettings(CommonSettings, frozen=True, kw_only=True):
    """The keys of the file. The API server knows the others of a node: name, addresses, pod CIDRs, peers."""

    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)

    def parse(self) -> NodeSettings:
        """These settings, checked, for a sample node that has all of the cluster's CIDRs. Raises SettingsError."""
        addresses, keys = ("192.0.2.1", "2001:db8::1"), asdict(self)
        return NodeSettings.parse(name="node", addresses=addresses, pod_cidrs=self.cluster_cidrs, **keys)


def load_cluster_settings(path: Path | None, warn: Warn | None = None) -> NodeSettings:
    """The file's settings, checked, for a sample node; without a file the defaults. Raises SettingsFileError."""
    return read(path, _convert, warn) if path else ClusterSettings().parse()


def _convert(document: dict[str, Any]) -> NodeSettings:
    return msgspec.convert(document, ClusterSettings).parse()
