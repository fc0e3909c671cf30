# SPDX-License-Identifier: Apache-2.0
"""The names of a lab's namespaces, folders and control groups. Pure.

The names of a lab and of its hosts are DNS labels. Dots, which a label cannot have, separate them in the name of a
namespace, so that the name can be parsed.
"""

from __future__ import annotations

import re
from pathlib import Path

from podwire.record import Record

FOLDER = Path("/run/podwire-lab")
NETNS_FOLDER = Path("/run/netns")
NETNS_PREFIX = "pwlab"
CGROUP = "podwire-lab"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def check_label(label: str) -> str:
    """The label itself; raises ValueError if it cannot name a lab or a host."""
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is not a name for a lab or a node: use 1 to 32 of a-z, 0-9 and inner hyphens")
    return label


class LabHost(Record):
    """A host of a lab: a node, the router or the internet."""

    lab: str
    node: str

    def __init__(self, lab: str, node: str) -> None:
        super().__init__(check_label(lab), check_label(node))

    def __lt__(self, other: LabHost) -> bool:
        return (self.lab, self.node) < (other.lab, other.node)

    @property
    def netns(self) -> str:
        """The name of its network namespace for `ip netns`."""
        return f"{NETNS_PREFIX}.{self.lab}.{self.node}"

    @property
    def netns_path(self) -> Path:
        """The file of its network namespace."""
        return NETNS_FOLDER / self.netns

    @property
    def folder(self) -> Path:
        """The folder on the machine with its PID, its services and their logs."""
        return FOLDER / self.lab / self.node

    @property
    def cgroup(self) -> str:
        """Its control group, relative to the lab's base group."""
        return f"{CGROUP}/{self.lab}/{self.node}"


def read_netns(name: str) -> LabHost | None:
    """The host whose network namespace has this name; None for a namespace that is not a lab's."""
    prefix, _, rest = name.partition(".")
    lab, _, node = rest.partition(".")
    if prefix != NETNS_PREFIX or not _LABEL.fullmatch(lab) or not _LABEL.fullmatch(node):
        return None
    return LabHost(lab, node)
