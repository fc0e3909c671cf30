"""Fixtures of the conformance suite: which cells a test runs in, and the node it runs on."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.node import Node
from tests.conformance.subject import CELLS, Subject, foreign_subject, podwire_cell
from tests.support.agent import Agent
from tests.support.namespace import Host
from tests.support.plugin import Plugin

FOREIGN = "foreign"


def _cells(metafunc: pytest.Metafunc) -> list[Subject | str]:
    if metafunc.config.getoption("--plugin"):
        return [FOREIGN]
    marker = metafunc.definition.get_closest_marker("cells")
    cells = [podwire_cell(*cell) for cell in CELLS[marker.args[0] if marker else "ways"]]
    wanted = metafunc.config.getoption("--plugin-mode")
    kept: list[Subject | str] = [
        cell for cell in cells if not wanted or cell.with_agent == (wanted == "agent")
    ]
    return kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that takes a `subject` (or a `node`, which takes one) its cells."""
    if "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", _cells(metafunc), indirect=True, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For another plug-in: leave out podwire's own decisions; expect its listed deviations to fail."""
    if not config.getoption("--plugin"):
        return
    own = [item for item in items if item.get_closest_marker("podwire_decision")]
    config.hook.pytest_deselected(items=own)
    items[:] = [item for item in items if item not in own]
    path: Path | None = config.getoption("--plugin-deviations")
    listed: dict[str, str] = tomllib.loads(path.read_text())["deviations"] if path else {}
    for item in items:
        whole, bare = item.name, item.name.partition("[")[0]
        reason = listed.get(whole.replace(f"[{FOREIGN}]", "").replace(f"[{FOREIGN}-", "["), listed.get(bare))
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """The cell of the matrix."""
    if isinstance(request.param, Subject):
        return request.param
    return foreign_subject(request.config.getoption("--plugin-config"), tmp_path)


@pytest.fixture
def node(request: pytest.FixtureRequest, subject: Subject, host: Host, tmp_path: Path) -> Iterator[Node]:
    """A fresh node with the plug-in in it, and the agent where the cell wants one."""
    if not subject.is_podwire:
        made = Node(host, Plugin(request.config.getoption("--plugin").absolute(), host), subject, tmp_path)
        yield made
        made.close()
        return
    bin_dir: Path = request.getfixturevalue("bin_dir")
    agent = Agent(host) if subject.with_agent else None
    socket = agent.socket if agent else tmp_path / "no-agent.sock"
    made = Node(
        host,
        Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(socket)}),
        subject,
        tmp_path,
        agent,
    )
    try:
        yield made
    finally:
        made.close()
        if agent:
            agent.stop()
