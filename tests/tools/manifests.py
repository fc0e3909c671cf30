# SPDX-License-Identifier: Apache-2.0
"""Renders deploy/podwire.yaml and deploy/uninstall.yaml from the chart in deploy/helm, with the real helm.

`.venv/bin/python -m tests.tools.manifests` (or `make manifests`) writes both. The chart is the source: the tests fail
where a file is not what it gives.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.tools import build

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm"
NAMESPACE = "podwire"
FILES = {"podwire.yaml": ("createNamespace=true",), "uninstall.yaml": ("createNamespace=true", "uninstall=true")}
"""Each file, and its difference from the chart's defaults."""

HEADER = (
    "# Made from the chart in deploy/helm by `make manifests`: change it there. The settings: docs/kubernetes.md.\n"
)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm to its end; whoever calls looks at the status."""
    program = build.build(build.module_of("helm")) / "helm"
    return subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False, timeout=120)


def template(*values: str) -> str:
    """What the chart gives with these values (KEY=JSON). Raises RuntimeError with helm's words."""
    words = [word for value in values for word in ("--set-json", value)]
    done = helm("template", "podwire", str(CHART), "--namespace", NAMESPACE, *words)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def rendered(name: str) -> str:
    """The text of one of FILES: as helm gives it, without its remarks on which file each object comes from."""
    text = re.sub(r"^# Source: .*\n", "", template(*FILES[name]), flags=re.MULTILINE)
    return HEADER + re.sub(r"\n\n+---\n", "\n---\n", text)


def main() -> int:
    """Write all files."""
    for name in FILES:
        (DEPLOY / name).write_text(rendered(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
