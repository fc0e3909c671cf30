# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several files of this layer share: the plugin both ways, the outside, clusters of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespaces.ground import Outside
from tests.support.cluster import Cluster, MakeCluster
from tests.support.namespace import Host
from tests.support.plugin import Plugin


@pytest.fixture(params=["agent", "oneshot"])
def wire(request: pytest.FixtureRequest) -> Plugin:
    """The plugin, answered by an agent or all by itself."""
    plugin: Plugin = request.getfixturevalue({"agent": "plugin", "oneshot": "oneshot_plugin"}[request.param])
    return plugin


@pytest.fixture
def outside(host: Host) -> Iterator[Outside]:
    """The world beyond the node."""
    with Outside(host) as world:
        yield world


@pytest.fixture
def make_cluster(bin_dir: Path, tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes clusters that go away at the test's end."""
    made: list[Cluster] = []

    def make(**options: object) -> Cluster:
        made.append(Cluster(bin_dir, tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for entry in made:
        entry.close()
