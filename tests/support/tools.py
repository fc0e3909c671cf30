# SPDX-License-Identifier: Apache-2.0
"""Finds the programs written elsewhere that tests and benchmarks use, building them at the first question."""

from __future__ import annotations

from pathlib import Path

from tests.tools import build


def tool(name: str) -> Path:
    """The program `name` (bridge, host-local, cnitool, crictl, containerd …), built when it is missing.

    Raises LookupError for a name that no module of tests/tools builds.
    """
    module = build.module_of(name)
    return build.build(module) / name


def reference_plugins() -> Path:
    """The folder of the reference CNI plugins and cnitool: a whole CNI_PATH."""
    return tool("bridge").parent
