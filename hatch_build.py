"""The build hook: compiles the native shim, static, into the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
SOURCE = ROOT / "shim" / "podwire.c"
TARGET = ROOT / "src" / "podwire" / "native" / "podwire"
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"]


def compiler() -> list[str]:
    """The C compiler: `CC`, else `cc`, else PyPI's ziglang (which brings musl with it)."""
    named = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if named:
        return [named]
    return [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl"]


def compile_shim(target: Path = TARGET) -> None:
    """Compile `shim/podwire.c` into `target`, written beside and renamed so that a running shim is not disturbed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".new")
    subprocess.run([*compiler(), *FLAGS, "-o", str(beside), str(SOURCE)], check=True)
    beside.replace(target)


class ShimBuildHook(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    """Called by hatchling before a wheel (also an editable one) is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the shim; the wheel is then bound to this platform."""
        if SOURCE.exists():
            compile_shim()
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    compile_shim()
