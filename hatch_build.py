# SPDX-License-Identifier: Apache-2.0
"""The build hook: compiles the native shim, static, into the package."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
SOURCES = sorted((ROOT / "shim").glob("*.c"))
TARGET = ROOT / "src" / "podwire" / "native" / "podwire"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"]


def compiler() -> list[str]:
    """The C compiler: `CC`, else musl's, else `cc`, else PyPI's ziglang (which brings musl with it).

    musl before glibc because the program is executed for every pod: glibc's static start-up costs 0.2 ms more
    (it asks the CPU for its features, which traps in virtual machines, and touches 27 pages against 8).
    """
    machine = platform.machine()
    if named := os.environ.get("CC"):
        return named.split()
    if musl := shutil.which("musl-gcc"):
        # musl brings no kernel headers: take the distribution's, after musl's own.
        return [musl, "-idirafter", "/usr/include", "-idirafter", f"/usr/include/{machine}-linux-gnu"]
    if found := shutil.which("cc") or shutil.which("gcc"):
        return [found]
    return [sys.executable, "-m", "ziglang", "cc", "-target", f"{machine}-linux-musl"]


def compile_static(sources: list[Path], target: Path, command: Sequence[str] = ()) -> None:
    """Compile `sources` into `target`, beside it first, so that a running program is not disturbed.

    `command` in the place of the compiler that is chosen, with its options.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".new")
    subprocess.run([*(command or compiler()), *FLAGS, "-o", str(beside), *map(str, sources)], check=True)
    beside.replace(target)


class ShimBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Called by hatchling before a wheel (also an editable one) is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the shim; the wheel is then bound to this platform, though to no version of Python."""
        if SOURCES:
            compile_static(SOURCES, TARGET)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{re.sub(r'[-.]', '_', sysconfig.get_platform())}"


if __name__ == "__main__":
    compile_static(SOURCES, TARGET)
