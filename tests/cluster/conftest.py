# SPDX-License-Identifier: Apache-2.0
"""Fixtures of this layer: an API server, scripted or real, and a node that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.access import Access
from tests.cluster.real import Real
from tests.cluster.scripted import Scripted
from tests.cluster.world import World
from tests.support.namespace import Host

REAL = pytest.param("real", marks=pytest.mark.timeout(3600))
"""It may have to be built first."""


@pytest.fixture(params=["scripted", REAL])
def api(request: pytest.FixtureRequest, host: Host, tmp_path: Path) -> Iterator[Access]:
    """An API server on the loopback of `host`."""
    server = (Scripted if request.param == "scripted" else Real)(host, tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def world(host: Host, api: Access, tmp_path: Path) -> Iterator[World]:
    """A node whose underlay is one segment."""
    found = World(host, api, tmp_path)
    yield found
    if found.agent:
        found.agent.stop()
