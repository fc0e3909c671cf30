"""Where a lab's things are: names of namespaces, folders and control groups, computed from two words. Pure.

A lab and its nodes are named by DNS labels. Dots, which a label cannot hold, separate them in a namespace's
name, so that each name can be read back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/run/podwire-lab")
NETNS_FOLDER = Path("/run/netns")
NETNS_PREFIX = "pwlab"
CGROUP = "podwire-lab"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def check_label(label: str) -> str:
    """The label itself; raises ValueError if a lab or a node cannot be named so."""
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is no name for a lab or a node: 1 to 32 of a-z, 0-9 and inner hyphens")
    return label


@dataclass(frozen=True, order=True)
class Place:
    """One node (or other host) of one lab."""

    lab: str
    node: str

    def __post_init__(self) -> None:
        check_label(self.lab)
        check_label(self.node)

    @property
    def netns(self) -> str:
        """The name of its network namespace, as `ip netns` knows it."""
        return f"{NETNS_PREFIX}.{self.lab}.{self.node}"

    @property
    def netns_path(self) -> Path:
        """The file that is its network namespace."""
        return NETNS_FOLDER / self.netns

    @property
    def folder(self) -> Path:
        """Its process id, its services and their logs, on the machine's side."""
        return FOLDER / self.lab / self.node

    @property
    def cgroup(self) -> str:
        """Its control group, below where the lab puts its groups."""
        return f"{CGROUP}/{self.lab}/{self.node}"


def read_netns(name: str) -> Place | None:
    """The place whose network namespace is named so; None for a namespace that is not a lab's."""
    prefix, _, rest = name.partition(".")
    lab, _, node = rest.partition(".")
    if prefix != NETNS_PREFIX or not _LABEL.fullmatch(lab) or not _LABEL.fullmatch(node):
        return None
    return Place(lab, node)
