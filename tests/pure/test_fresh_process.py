# SPDX-License-Identifier: Apache-2.0
"""What a process for one call loads (ADR 8): whatever it does not need, a pod waits for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import podwire

SOURCE = Path(podwire.__file__).parent.parent
SLOW = {"ctypes", "dataclasses", "enum", "hashlib", "inspect", "json", "msgspec", "pathlib", "re"}
SLOW |= {"queue", "select", "selectors", "socket", "subprocess", "typing"}
"""Each costs more than 3 ms, or is loaded by one of those. `contextlib` and `threading` cost less than 1 ms."""


def loaded(*modules: str) -> set[str]:
    """The modules that are there once a fresh Python, started as the shim does it, has imported some of ours."""
    script = f"import sys; sys.path.append({str(SOURCE)!r}); import {', '.join(modules)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    return {*done.stdout.split()}


ALWAYS = ("podwire.netlink.host", "podwire.plugin.context", "podwire.plugin.dispatch")


@pytest.mark.parametrize("verb", ["add", "check", "delete", "status", "loopback"])
def test_a_call_does_not_wait_for_what_it_does_not_need(verb: str) -> None:
    found = loaded(*ALWAYS, f"podwire.plugin.{verb}")
    assert f"podwire.plugin.{verb}" in found
    assert not found & SLOW


def test_a_call_loads_neither_other_verbs_nor_templates() -> None:
    found = loaded(*ALWAYS, "podwire.plugin.add")
    others = ("check", "delete", "gc", "status", "loopback", "template")
    assert found & {f"podwire.plugin.{name}" for name in ("add", *others)} == {"podwire.plugin.add"}


def test_a_module_that_is_slow_would_be_found() -> None:
    assert {"threading", "ctypes"} <= loaded("podwire.netlink.link_deleter")
