"""When an agent counts as dead: its mender stuck, or ended by a fault that nobody foresaw."""

from __future__ import annotations

import io
import threading

import pytest

from bench import stage
from podwire.agent import mend
from podwire.agent.log import CallLog
from podwire.agent.mend import Mender
from podwire.kernel.host import Shared
from podwire.verbs.network import Networks
from tests.support.namespace import wait_until


def test_a_mender_that_is_stuck_or_dead_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda one: died.append(str(one.exc_value)))
    with stage.host():
        mender = Mender(Shared(), Networks(kept=True), CallLog(io.StringIO()))
        assert mender.why_dead() == "", "what has not begun is not dead"
        mender.start()
        assert mender.why_dead() == ""
        monkeypatch.setattr(mend, "STUCK_SECONDS", -1.0)
        assert mender.why_dead().startswith("the mender has been at one thing for ")

        def fails() -> None:
            raise RuntimeError("nobody foresaw this")

        monkeypatch.setattr(mender, "_once", fails)
        assert wait_until(lambda: mender.why_dead() == "the mender's thread has died")
        assert died == ["nobody foresaw this"]
