# SPDX-License-Identifier: Apache-2.0
"""When an agent counts as dead: its loop is stuck or has ended."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import pytest

from bench import namespaces
from podwire.netlink.host import Host
from podwire.node import loop as node_loop
from podwire.node.desired import DesiredState
from podwire.node.loop import Loop
from podwire.node.reconciler import Change, Event, Reconciler
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from tests.support.namespace import wait_until


def desired_state() -> DesiredState:
    state = PluginState(reconciled=True)
    return DesiredState(Host(state.namespace), state)


class Ends(Reconciler):
    """Ends the thread as no exception can."""

    name = "ends"

    def __init__(self, end: Callable[[], bool]) -> None:
        self._end = end

    def concerned_by(self, event: Event) -> bool:
        return True

    def differences(self, *, full: bool) -> list[Change]:
        if self._end():
            raise SystemExit("the thread ends")
        return []


def test_a_loop_that_is_stuck_or_has_ended_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(node_loop, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(threading, "excepthook", lambda died: None)
    with namespaces.host():
        desired = desired_state()
        loop = Loop(desired, [lambda _: Ends(ended.is_set)], AgentLog(io.StringIO()))
        assert loop.liveness_error() == "", "what has not started is not dead"
        loop.start()
        assert loop.liveness_error() == ""
        monkeypatch.setattr(node_loop, "STUCK_SECONDS", -1.0)
        assert loop.liveness_error().startswith("the loop has been stuck for ")
        ended.set()
        assert wait_until(lambda: loop.liveness_error() == "the loop's thread has ended")
