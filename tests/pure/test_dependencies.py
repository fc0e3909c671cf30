"""Every package that the code imports is declared where it is needed, and nothing else is."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXTRAS = {"kubernetes": ("kube",), "metrics": ("observe",)}
"""The packages of podwire that an extra is for."""


def imported(folder: Path) -> dict[str, set[Path]]:
    """The distributions that the modules of a folder import, and where."""
    found: dict[str, set[Path]] = {}
    distributions = packages_distributions()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for top in {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names):
                for distribution in distributions.get(top, [top]):
                    found.setdefault(normal(distribution), set()).add(path.relative_to(folder))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\s<>=!~\[;]", requirement, maxsplit=1)[0]) for requirement in requirements}


def project(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file.read_text())["project"]
    return found


def test_podwires_packages_are_declared() -> None:
    pyproject = project(ROOT / "pyproject.toml")
    always, extras = declared(pyproject["dependencies"]), pyproject["optional-dependencies"]
    found = imported(ROOT / "src" / "podwire")
    found.pop("podwire")
    found.pop("podwire-lab", None)  # where it is installed, it adds a verb
    found.pop("lightkube-models")  # a part of lightkube that has a package of its own
    optional: set[str] = set()
    for extra, folders in EXTRAS.items():
        names = declared(extras[extra])
        optional |= names
        used = {name: {path.parts[0] for path in found.get(name, ())} for name in names}
        assert names and used == {name: set(folders) for name in names}, extra
    assert set(found) - optional == always


def test_every_bound_of_the_kubernetes_extra_has_a_next_major_version() -> None:
    bounds = project(ROOT / "pyproject.toml")["optional-dependencies"]["kubernetes"]
    assert bounds and all(re.fullmatch(r"[a-z0-9]+>=[\d.]+,<\d+", bound) for bound in bounds), bounds


def test_the_labs_packages_are_declared() -> None:
    found = imported(ROOT / "lab" / "src" / "podwire_lab")
    found.pop("podwire-lab")
    assert set(found) == declared(project(ROOT / "lab" / "pyproject.toml")["dependencies"])
