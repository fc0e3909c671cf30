# SPDX-License-Identifier: Apache-2.0
"""Runs `podwire lab` as a command and reads its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.runtimes.world import LAB_PREFIX

PODWIRE = str(Path(sys.executable).parent / "podwire")
LAB = f"{LAB_PREFIX}-{os.getpid()}-lab"


def lab(*words: str, name: str = LAB) -> subprocess.CompletedProcess[str]:
    """`podwire lab VERB --name LAB …`."""
    argv = [PODWIRE, "lab", words[0], "--name", name, *words[1:]]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)


def in_lab(where: str, *command: str, name: str = LAB) -> subprocess.CompletedProcess[str]:
    return lab("exec", where, "--", *command, name=name)


def status(name: str = LAB) -> dict[str, Any]:
    (found,) = json.loads(lab("status", "-o", "json", name=name).stdout)["labs"]
    return dict(found)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The error line of a command that failed."""
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len([line for line in lines if line.startswith("podwire")]) == 1, done.stderr
    return lines[-1]
