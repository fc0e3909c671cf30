"""When an agent counts as dead: its mender stuck, or ended by a fault that nobody foresaw."""

from __future__ import annotations

import io
import threading

import pytest

from bench import namespaces
from podwire.node import reconciler as mend
from podwire.node.reconciler import Mender
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from tests.support.namespace import wait_until


def test_a_mender_that_is_stuck_or_dead_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda one: died.append(str(one.exc_value)))
    with namespaces.host():
        mender = Mender(PluginState(reconciled=True), AgentLog(io.StringIO()))
        assert mender.liveness_error() == "", "what has not begun is not dead"
        mender.start()
        assert mender.liveness_error() == ""
        monkeypatch.setattr(mend, "STUCK_SECONDS", -1.0)
        assert mender.liveness_error().startswith("the mender has been at one thing for ")

        def fails() -> None:
            raise RuntimeError("nobody foresaw this")

        monkeypatch.setattr(mender, "_once", fails)
        assert wait_until(lambda: mender.liveness_error() == "the mender's thread has died")
        assert died == ["nobody foresaw this"]
