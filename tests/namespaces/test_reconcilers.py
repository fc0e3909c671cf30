# SPDX-License-Identifier: Apache-2.0
"""A new kind of kept thing is one class and one entry of the list; the loop does everything else."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from bench import namespaces
from podwire.netlink.host import Host
from podwire.netlink.operations import AddForwarding, AddRoute, DeleteRoute, SetUp
from podwire.node import loop as node_loop
from podwire.node import task
from podwire.node.desired import DesiredState
from podwire.node.loop import Loop
from podwire.node.reconciler import TICK, Change, Event, Reconciler, change_of
from podwire.node.reconcilers import RECONCILERS
from podwire.node.settings import CniSettings, NodeSettings, SettingsChange
from podwire.observe.events import Problem
from podwire.observe.log import AgentLog
from podwire.observe.status import StatusService
from podwire.plugin.context import PluginState
from tests.support.namespace import wait_until


def desired_state() -> DesiredState:
    state = PluginState(reconciled=True)
    return DesiredState(Host(state.namespace), state)


class Message(Reconciler):
    """Keeps a file with a message. This is all that a new kept thing takes, beside its entry in the list."""

    name = "message"

    def __init__(self, desired: DesiredState, path: Path) -> None:
        self._path = path

    def concerned_by(self, event: Event) -> bool:
        return event.kind == TICK

    def differences(self, *, full: bool) -> Sequence[Change]:
        if self._path.is_file() and self._path.read_text() == "hello":
            return []
        return [Change("file", f"echo hello > {self._path}", self._write)]

    def _write(self) -> None:
        self._path.write_text("hello")


class Buggy(Reconciler):
    """Raises what no reconciler should raise, as long as it is told to."""

    name = "buggy"

    def __init__(self, desired: DesiredState) -> None:
        self.works = threading.Event()
        self.calls: list[bool] = []

    def concerned_by(self, event: Event) -> bool:
        return event.kind == TICK

    def differences(self, *, full: bool) -> Sequence[Change]:
        self.calls.append(full)
        if not self.works.is_set():
            raise ZeroDivisionError("a bug")
        return []


class Kept:
    """A loop in a namespace of its own, with what it logged."""

    def __init__(self, reconcilers: Sequence[Callable[[DesiredState], Reconciler]]) -> None:
        self.stream = io.StringIO()
        self.log = AgentLog(self.stream)
        self.desired = desired_state()
        self.loop = Loop(self.desired, reconcilers, self.log)

    def lines(self, word: str) -> list[str]:
        return [line for line in self.stream.getvalue().splitlines() if word in line]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(node_loop, "TICK_SECONDS", 0.05)
    with namespaces.host():
        yield


def test_a_new_kept_thing_is_restored_logged_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "message"
    kept = Kept([*RECONCILERS, partial(Message, path=path)])
    kept.loop.begin()
    kept.loop.start()
    assert path.read_text() == "hello"
    path.unlink()
    assert wait_until(path.exists)
    assert wait_until(lambda: kept.loop.restored["file", "message"] == 2)
    assert kept.lines("restored:") == [f"podwire: restored: echo hello > {path}"] * 2
    assert kept.loop.failing["message"] is False and kept.loop.problems() == []


def test_what_cannot_be_applied_is_a_problem_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "message"
    kept = Kept([partial(Message, path=path)])
    kept.loop.begin()
    kept.loop.start()
    (problem,) = kept.loop.problems()
    assert problem.startswith("message: ") and str(path) in problem and kept.loop.failing["message"]
    assert kept.loop.restored == {} and not kept.lines("restored:"), "nothing was restored"
    path.parent.mkdir()
    assert wait_until(lambda: kept.loop.problems() == [])
    assert path.read_text() == "hello" and kept.loop.restored == {("file", "message"): 1}
    assert wait_until(lambda: bool(kept.lines("resolved:")))
    assert len(kept.lines(problem)) == 2, "once when it began, once when it was over"


def test_one_that_raises_is_backed_off_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "FIRST_RETRY_SECONDS", 0.2)
    path, made = tmp_path / "message", []
    kept = Kept([lambda desired: made.append(Buggy(desired)) or made[0], partial(Message, path=path)])  # type: ignore[func-returns-value]
    kept.loop.begin()
    kept.loop.start()
    buggy: Buggy = made[0]
    words = "buggy: internal error (ZeroDivisionError: a bug): please report it"
    assert wait_until(lambda: len(buggy.calls) >= 4)
    assert path.read_text() == "hello", "the next one was asked nevertheless"
    for number in range(3):
        path.unlink()
        assert wait_until(path.exists), number
    assert len(buggy.calls) < 8, "it is not asked each time"
    assert set(buggy.calls) == {True}, "after a failure, everything is read"
    assert kept.loop.problems() == [words] and kept.loop.liveness_error() == ""
    assert [line for line in kept.lines(words) if "resolved" not in line] == [f"podwire: {words}"]
    status = StatusService(Ready(), kept.log, kept.loop, None).state()  # type: ignore[arg-type]
    assert status.problems == [words]
    buggy.works.set()
    assert wait_until(lambda: kept.loop.problems() == [])
    assert wait_until(lambda: kept.lines("resolved:") == [f"podwire: resolved: {words}"])


class Ready:
    def readiness_error(self) -> str:
        return ""


def test_a_netlink_change_is_announced_only_where_the_kernel_took_it() -> None:
    from ipaddress import ip_address, ip_network  # noqa: PLC0415

    class Routes(Reconciler):
        name = "routes"
        asked = 0

        def __init__(self, desired: DesiredState) -> None:
            pass

        def differences(self, *, full: bool) -> Sequence[Change]:
            Routes.asked += 1
            gateway, other = ip_address("192.0.2.1"), ip_network("10.9.9.0/24")
            operations = (
                SetUp("lo"),
                AddForwarding("missing", "02:00:00:00:00:01", gateway),
                AddRoute("lo", ip_network("10.9.8.0/24"), gateway, replace=True),
                DeleteRoute("lo", other),
            )
            return [change_of(operation) for operation in operations] if Routes.asked == 1 else []

    kept = Kept([Routes])
    kept.loop.begin()
    told = kept.lines("restored:")
    assert [line.split("restored: ")[1] for line in told] == ["ip link set lo up"]
    assert kept.loop.restored == {("link", "routes"): 1}
    (problem,) = kept.loop.problems()
    assert "bridge fdb" in problem and problem.endswith("(1 more)"), "what was gone already is no error"


class Faulty(Reconciler):
    """Every method raises."""

    name = "faulty"

    def __init__(self, desired: DesiredState) -> None:
        pass

    def concerned_by(self, event: Event) -> bool:
        raise LookupError("concerned_by")

    def desired_changed(self, change: SettingsChange) -> bool:
        raise LookupError("desired_changed")

    def differences(self, *, full: bool) -> Sequence[Change]:
        raise LookupError("differences")

    def problems(self) -> Sequence[str]:
        raise LookupError("problems")


class FaultySource:
    """Its first change is good; later every method of it raises."""

    descriptor, name, own_name = 0, "test", "node-1"

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.descriptor = self._read
        self.settings = NodeSettings.parse(
            name="node-1",
            addresses=["192.0.2.1"],
            pod_cidrs=["10.244.1.0/24"],
            cluster_cidrs=["10.244.0.0/16"],
            cni=CniSettings(write=False),
        )
        self._given = False

    def start(self) -> None:
        pass

    def changes(self) -> SettingsChange:
        if self._given:
            raise LookupError("changes")
        self._given = True
        return SettingsChange(self.settings, complete=True)

    def applied(self) -> None:
        raise LookupError("applied")

    def set_problems(self, problems: Sequence[Problem]) -> None:
        raise LookupError("set_problems")


def test_whatever_raises_keeps_nothing_else_from_being_restored(tmp_path: Path) -> None:
    path = tmp_path / "message"
    stream = io.StringIO()
    desired, source = desired_state(), FaultySource()
    loop = Loop(desired, [Faulty, *RECONCILERS, partial(Message, path=path)], AgentLog(stream), source)  # type: ignore[arg-type]
    loop.begin()
    loop.start()
    assert wait_until(path.exists)
    for number in range(3):
        path.unlink()
        assert wait_until(path.exists), number
    assert loop.liveness_error() == ""
    assert any("faulty: internal error (LookupError: problems)" in problem for problem in loop.problems())
    assert wait_until(lambda: "loop: internal error (LookupError: changes)" in stream.getvalue())
    assert desired.settings == source.settings and desired.networks.all()


def test_problems_reach_the_source() -> None:
    heard: list[list[Problem]] = []

    class Source:
        descriptor, name, own_name = 0, "test", "node-1"

        def start(self) -> None: ...
        def changes(self) -> None: ...
        def applied(self) -> None: ...
        def set_problems(self, problems: Sequence[Problem]) -> None:
            heard.append(list(problems))

    stream = io.StringIO()
    desired = desired_state()
    Loop(desired, [Buggy], AgentLog(stream), Source()).begin()  # type: ignore[arg-type]
    words = "buggy: internal error (ZeroDivisionError: a bug): please report it"
    assert heard == [[Problem("node-1", "ReconcileFailed", words)]]
