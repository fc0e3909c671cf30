# SPDX-License-Identifier: Apache-2.0
"""Every source file names its licence in its first lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINE = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = {".py", ".sh", ".c", ".h"}
NAMES = {"Makefile", "Containerfile", ".ci/run", "pyproject.toml", "lab/pyproject.toml"}


def test_every_source_file_names_the_licence() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [name for name in done.stdout.split() if Path(name).suffix in SUFFIXES or {name, Path(name).name} & NAMES]
    files = [name for name in files if (ROOT / name).is_file()]
    assert len(files) > 300
    missing = [name for name in files if LINE not in "\n".join((ROOT / name).read_text().splitlines()[:3])]
    assert missing == []
