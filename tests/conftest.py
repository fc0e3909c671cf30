# SPDX-License-Identifier: Apache-2.0
"""Fixtures and options that every layer of tests shares."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import hypothesis
import pytest

from tests.support.agent import Agent, install
from tests.support.namespace import Host, Namespace, sweep_dead
from tests.support.plugin import Plugin

MARKERS = (
    "line(*names): the lines of docs/conformance.md that a test shows",
    "failure_mode(*names): the rows of docs/failure-modes.md that a test shows",
    "podwire_decision: asserts podwire's own decision; not for other plugins",
    "cells(name): in which cells of the conformance matrix a test runs (see tests/conformance/subject.py)",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the conformance suite: which plugin, with which configuration, run how."""
    group = parser.getgroup("conformance", "CNI conformance of any plugin")
    group.addoption("--plugin", type=Path, help="the plugin's binary (default: podwire, installed for the session)")
    group.addoption("--plugin-config", help="its network configuration: a file or JSON; @TMP@ becomes a fresh folder")
    group.addoption("--plugin-mode", choices=("agent", "oneshot"), help="only with the podwire agent, or only without")
    group.addoption("--plugin-deviations", type=Path, help="lines 'test: reason' for tests this plugin must fail")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; remove what a killed earlier run left."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    sweep_dead()
    hypothesis.settings.register_profile("podwire", deadline=None)  # a busy machine is no failure
    hypothesis.settings.load_profile("podwire")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end_in_order)


def _end_in_order(number: int, frame: FrameType | None) -> None:
    """A terminated run still stops its agents and deletes its namespaces."""
    pytest.exit("terminated", returncode=128 + number)


@pytest.fixture
def host() -> Iterator[Host]:
    """A fresh namespace that plays the node."""
    with Host() as namespace:
        yield namespace


@pytest.fixture
def new_namespace() -> Iterator[Callable[[], Namespace]]:
    """Makes namespaces (pods) that are deleted at the test's end."""
    made: list[Namespace] = []

    def make() -> Namespace:
        made.append(Namespace())
        return made[-1]

    yield make
    for namespace in made:
        namespace.delete()


@pytest.fixture
def pod(new_namespace: Callable[[], Namespace]) -> Namespace:
    """A fresh namespace that plays a pod's sandbox."""
    return new_namespace()


@pytest.fixture(scope="session")
def bin_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNI bin directory made once by `podwire install`."""
    folder = tmp_path_factory.mktemp("podwire")
    return install(folder / "bin", folder / "conf")


@pytest.fixture
def agent(host: Host) -> Iterator[Agent]:
    """The podwire agent, serving in `host`."""
    with Agent(host) as running:
        yield running


@pytest.fixture
def plugin(bin_dir: Path, host: Host, agent: Agent) -> Plugin:
    """podwire's installed shim in `host`, answered by the agent."""
    return Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})


@pytest.fixture
def oneshot_plugin(bin_dir: Path, host: Host, tmp_path: Path) -> Plugin:
    """podwire's installed shim in `host` with no agent there."""
    return Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(tmp_path / "no-agent.sock")})
