# SPDX-License-Identifier: Apache-2.0
"""What is tested: a plugin with a configuration, in one cell of the matrix (agent, datapath, families)."""

from __future__ import annotations

import copy
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Config = dict[str, Any]

NEWEST = "1.1.0"
NETWORKS: dict[str, tuple[str, ...]] = {
    "ipv4": ("10.22.0.0/24",),
    "ipv6": ("fd00:22::/64",),
    "dual": ("10.22.0.0/24", "fd00:22::/64"),
}


class Absent:
    """Marks a key that `Subject.config_with` removes."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


@dataclass(frozen=True)
class Subject:
    """One cell: how the plugin runs and with which configuration."""

    label: str
    config: Mapping[str, Any]
    is_podwire: bool = True
    with_agent: bool = True
    mode: str = "bridge"

    def __str__(self) -> str:
        return self.label

    @property
    def networks(self) -> list[Network]:
        """The pod networks, one per family."""
        ipam = self.config.get("ipam", {})
        texts = [each[0]["subnet"] for each in ipam.get("ranges", [])]
        texts = texts or str(ipam.get("subnet") or self.config["subnet"]).split(",")
        return [ipaddress.ip_network(text) for text in texts]

    @property
    def families(self) -> list[int]:
        """4, 6 or both."""
        return [network.version for network in self.networks]

    def addresses(self, number: int) -> list[str]:
        """The `number`-th address of each network."""
        return [str(network[number]) for network in self.networks]

    def config_with(self, **changes: Any) -> Config:
        """The configuration with top-level keys replaced, or removed by ABSENT."""
        config = copy.deepcopy(dict(self.config))
        config.update(changes)
        return {key: value for key, value in config.items() if value is not ABSENT}


def podwire_config(mode: str, family: str) -> Config:
    """podwire's configuration for one datapath and "ipv4", "ipv6" or "dual"."""
    return {
        "cniVersion": NEWEST,
        "name": "pwnet",
        "type": "podwire",
        "mode": mode,
        "bridge": "cni0",
        "subnet": ",".join(NETWORKS[family]),
    }


def podwire_cell(with_agent: bool, mode: str, family: str) -> Subject:
    """podwire in one cell of the matrix."""
    label = f"{'agent' if with_agent else 'oneshot'}-{mode}-{family}"
    return Subject(label, podwire_config(mode, family), True, with_agent, mode)


_ALL = [(a, m, f) for a in (True, False) for m in ("bridge", "routed") for f in ("ipv4", "ipv6", "dual")]
# Which cells a test runs in: every one; both datapaths; both ways to run; one where only words matter; …
CELLS: dict[str, list[tuple[bool, str, str]]] = {
    "all": _ALL,
    "datapaths": [(True, "bridge", "dual"), (True, "routed", "dual"), (False, "routed", "ipv4")],
    "ways": [(True, "bridge", "ipv4"), (False, "routed", "dual")],
    "text": [(True, "bridge", "ipv4")],
    "agent": [(True, "routed", "dual")],
    "one": [(True, "bridge", "dual")],
}


def foreign_subject(text: str, folder: Path) -> Subject:
    """Another plugin's configuration: a file's path or JSON, in which @TMP@ becomes `folder`."""
    source = text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8")
    config = json.loads(source.replace("@TMP@", str(folder)))
    return Subject("foreign", {"cniVersion": NEWEST, **config}, False, False, "foreign")
