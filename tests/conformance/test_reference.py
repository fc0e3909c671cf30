# SPDX-License-Identifier: Apache-2.0
"""The suite itself on trial: the reference bridge with host-local passes it, but for the deviations it is known for.

The same by hand, for any plugin:

    pytest tests/conformance --plugin PATH --plugin-config FILE|JSON --plugin-deviations FILE
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import tool

HERE = Path(__file__).parent


def test_the_reference_bridge_passes(pytestconfig: pytest.Config) -> None:
    """What this suite asks of any plugin (podwire's own decisions aside) is what the reference plugin does."""
    if pytestconfig.getoption("--plugin"):
        pytest.skip("another plugin is tested")
    argv = [
        sys.executable,
        "-m",
        "pytest",
        str(HERE),
        "-q",
        "-p",
        "no:cacheprovider",
        "--plugin",
        str(tool("bridge")),
        "--plugin-config",
        str(HERE / "foreign" / "bridge.json"),
        "--plugin-deviations",
        str(HERE / "foreign" / "bridge-1.9.1.toml"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=HERE.parents[1], timeout=500)
    assert done.returncode == 0, done.stdout[-6000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout[-2000:]
    assert int(passed[1]) > 200
