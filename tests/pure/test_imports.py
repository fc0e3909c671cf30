# SPDX-License-Identifier: Apache-2.0
"""The packages of podwire, the one direction of imports between them, and no circle of imports between files."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import podwire

ROOT = Path(podwire.__file__).parent
BASE = ("record", "digest", "text", "ip", "sysctl")
"""Modules beside the packages. They import nothing of podwire but each other."""

ORDER = (
    *BASE,
    "cni",
    "netlink",
    "attachments",
    "nft",
    "ipam",
    "hostports",
    "bandwidth",
    "datapath",
    "plugin",
    "oneshot",
    "install",
    "observe",
    "node",
    "kube",
    "agent",
    "diagnose",
    "cli",
)
"""A package may import itself and packages before it."""

PURE = ("record", "digest", "text", "ip", "cni")
"""They compute and have no effect on the machine."""

EFFECTS = {"asyncio", "ctypes", "datetime", "fcntl", "os", "pathlib", "random", "select", "shutil", "signal", "socket"}
EFFECTS |= {"subprocess", "tempfile", "threading", "time", "urllib"}


def modules(root: Path) -> dict[str, Path]:
    """All modules below `root` (the folder of the package podwire) by their dotted names."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The modules and names that a file imports, each with its line; those for type checkers alone as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def imported_modules(path: Path, known: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """The modules of podwire that a file imports."""
    for line, imported in imports(path):
        name = imported
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name:
            yield line, name


def package(module: str) -> str:
    """The package (or base module) of a module; "" for podwire itself."""
    return [*module.split("."), ""][1]


def upward_imports(root: Path) -> list[str]:
    """Imports of a package by one that stands before it."""
    known = modules(root)
    wrong = []
    for module, path in known.items():
        for line, name in imported_modules(path, known):
            here, there = package(module), package(name)
            if here and there and ORDER.index(there) > ORDER.index(here):
                wrong.append(f"{module}:{line} imports {name}")
    return wrong


def circles(root: Path) -> list[list[str]]:
    """Groups of files that import each other, directly or through others (strongly connected components)."""
    known = modules(root)
    graph = {module: {name for _, name in imported_modules(path, known)} - {module} for module, path in known.items()}
    graph = {module: {name for name in names if package(name)} for module, names in graph.items()}

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for name in graph[waiting.pop()] - found:
                found.add(name)
                waiting.append(name)
        return found

    below = {module: reachable(module) for module in graph}
    return [
        sorted({module, *(o for o in below[module] if module in below[o])})
        for module in graph
        if module in below[module]
    ]


def test_every_package_has_its_place() -> None:
    assert {package(module) for module in modules(ROOT)} - {""} == set(ORDER)


def test_imports_point_one_way() -> None:
    assert upward_imports(ROOT) == []


def test_no_files_import_each_other() -> None:
    assert circles(ROOT) == []


def test_pure_packages_have_no_effects() -> None:
    wrong = [
        f"{module}:{line} imports {name}"
        for module, path in modules(ROOT).items()
        if package(module) in PURE
        for line, name in imports(path)
        if name.split(".")[0] in EFFECTS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "line", "found"),
    [
        ("cni/errors.py", "from podwire.netlink import socket", "podwire.cni.errors:1 imports podwire.netlink.socket"),
        ("record.py", "import podwire.cni.errors", "podwire.record:1 imports podwire.cni.errors"),
        ("node/__init__.py", "def f(): from podwire.cli import main", "podwire.node:1 imports podwire.cli.main"),
    ],
)
def test_a_planted_import_upward_is_found(tmp_path: Path, file: str, line: str, found: str) -> None:
    copy = shutil.copytree(ROOT, tmp_path / "podwire")
    (copy / file).write_text(f"{line}\n{(copy / file).read_text()}")
    assert found in upward_imports(copy)


def test_a_planted_circle_is_found(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT, tmp_path / "podwire")
    (copy / "cni" / "first.py").write_text("from podwire.cni.second import b\n")
    (copy / "cni" / "second.py").write_text("def f(): from podwire.cni import first\n")
    assert ["podwire.cni.first", "podwire.cni.second"] in circles(copy)


def test_a_planted_effect_in_a_pure_package_is_found(tmp_path: Path) -> None:
    copy = shutil.copytree(ROOT, tmp_path / "podwire")
    (copy / "cni" / "bad.py").write_text("import socket\n")
    assert "socket" in {name for _, name in imports(modules(copy)["podwire.cni.bad"])}
    assert "socket" in EFFECTS


def test_modules_say_what_they_are_for() -> None:
    silent = [module for module, path in modules(ROOT).items() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_modules_stay_readable() -> None:
    """Around 300 lines a file wants to be split; cohesion decides, so some lines more are allowed."""
    long = [module for module, path in modules(ROOT).items() if len(path.read_text().splitlines()) > 340]
    assert long == []
