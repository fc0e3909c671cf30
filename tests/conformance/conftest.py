# SPDX-License-Identifier: Apache-2.0
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
from tests.support.snapshot import Snapshot, snapshot

FOREIGN = "foreign"


def _cells(metafunc: pytest.Metafunc) -> list[Subject | str]:
    if metafunc.config.getoption("--plugin"):
        return [FOREIGN]
    marker = metafunc.definition.get_closest_marker("cells")
    cells = [podwire_cell(*cell) for cell in CELLS[marker.args[0] if marker else "ways"]]
    wanted = metafunc.config.getoption("--plugin-mode")
    kept: list[Subject | str] = [cell for cell in cells if not wanted or cell.with_agent == (wanted == "agent")]
    return kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that takes a `subject` (or a `node`, which takes one) its cells."""
    if "subject" in metafunc.fixturenames:
        metafunc.parametrize("subject", _cells(metafunc), indirect=True, ids=str)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For another plugin: leave out podwire's own decisions; expect its listed deviations to fail."""
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


class Grounds:
    """Hosts with an agent in them, used again by the next test of the cell if the last one left no trace."""

    def __init__(self) -> None:
        self._free: dict[str, tuple[Host, Agent, Snapshot]] = {}

    def take(self, label: str) -> tuple[Host, Agent, Snapshot]:
        """A host with a serving agent, and its state."""
        if label in self._free:
            return self._free.pop(label)
        host = Host()
        try:
            return host, Agent(host), snapshot(host)
        except BaseException:
            host.delete()
            raise

    def give_back(self, label: str, host: Host, agent: Agent, pristine: Snapshot) -> None:
        """Keep it for the next test if it is as it was; end it otherwise."""
        if agent.process.poll() is None and label not in self._free and snapshot(host) == pristine:
            self._free[label] = (host, agent, pristine)
            return
        agent.stop()
        host.delete()

    def close(self) -> None:
        """End all that are kept."""
        for host, agent, _ in self._free.values():
            agent.stop()
            host.delete()
        self._free.clear()


@pytest.fixture(scope="session")
def grounds() -> Iterator[Grounds]:
    """The hosts that tests leave untouched, for the next one."""
    kept = Grounds()
    yield kept
    kept.close()


def _with_agent(grounds: Grounds, bin_dir: Path, subject: Subject, folder: Path) -> Iterator[Node]:
    host, agent, pristine = grounds.take(subject.label)
    plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})
    made = Node(host, plugin, subject, folder, agent)
    try:
        yield made
    finally:
        made.close()
        grounds.give_back(subject.label, host, agent, pristine)


def _without_agent(plugin: Path, subject: Subject, folder: Path) -> Iterator[Node]:
    with Host() as host:
        environment = {"PODWIRE_SOCKET": str(folder / "no-agent.sock")} if subject.is_podwire else {}
        made = Node(host, Plugin(plugin, host, environment=environment), subject, folder)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def node(request: pytest.FixtureRequest, subject: Subject, tmp_path: Path) -> Iterator[Node]:
    """A node with the plugin in it, as nobody has touched it, and the agent where the cell wants one."""
    if not subject.is_podwire:
        yield from _without_agent(request.config.getoption("--plugin").absolute(), subject, tmp_path)
        return
    bin_dir: Path = request.getfixturevalue("bin_dir")
    if subject.with_agent:
        yield from _with_agent(request.getfixturevalue("grounds"), bin_dir, subject, tmp_path)
    else:
        yield from _without_agent(bin_dir / "podwire", subject, tmp_path)
