# SPDX-License-Identifier: Apache-2.0
"""Where an agent's settings come from: a file (`file_source.py`), or the API server (`kube/source.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from podwire.node.settings import SettingsChange
from podwire.observe.events import Problem
from podwire.observe.status import KnownNode


class Source:
    """Settings that change. The loop's thread calls `start`, `changes` and `applied`, any thread the rest.

    `descriptor` is readable when `changes` may have something new. `name` is a file's path or an API server's address,
    for people. `own_name` is this node's name, "" as long as it is not known.
    """

    descriptor: int
    name: str
    own_name: str

    def start(self) -> None:
        """Begin to follow. Raises SettingsFileError for a file that is wrong."""
        raise NotImplementedError

    def changes(self) -> SettingsChange | None:
        """What changed since the last time; None for nothing. The source itself logs what is wrong."""
        raise NotImplementedError

    def nodes(self) -> list[KnownNode]:
        """All nodes of the cluster, this node first."""
        raise NotImplementedError

    def applied(self) -> None:
        """The kernel has what this node's settings need, and CNI calls are served; called after every change."""

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """All that the loop cannot keep in its desired state now; called when it changes. For Events."""

    def silent_seconds(self) -> float | None:
        """The time since the source last answered; None for a source that is always there."""
        return None

    def unknown_reason(self) -> str:
        """Why there are no settings for this node; "" if there are."""
        return ""

    def requests(self) -> Mapping[tuple[str, str], int]:
        """How many requests were made to the source, by method and result."""
        return {}

    def bad_nodes(self) -> int:
        """How many nodes have a problem."""
        return 0
