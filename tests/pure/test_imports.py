"""The rooms of the house and the one direction of imports between them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import podwire

ROOT = Path(podwire.__file__).parent
ORDER = ("plan", "ipam", "cni", "pod", "node", "kernel", "verbs", "oneshot", "agent", "kube", "check", "lab", "cli")
"""A room may import from itself and from rooms to its left."""

PURE = ("plan", "ipam", "cni", "pod", "node")
EFFECTS = {"asyncio", "ctypes", "datetime", "fcntl", "os", "pathlib", "random", "select", "shutil", "signal", "socket"}
EFFECTS |= {"subprocess", "tempfile", "threading", "time", "urllib"}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            if node.module == "podwire":
                yield from ((node.lineno, f"podwire.{name.name}") for name in node.names)


def test_every_room_has_its_place() -> None:
    rooms = {room(path) for path in modules()} - {"__init__"}
    assert rooms <= set(ORDER)


def test_imports_point_one_way() -> None:
    wrong = []
    for path in modules():
        here = room(path)
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] != "podwire" or len(parts) < 2 or parts[1] not in ORDER or here not in ORDER:
                continue
            if ORDER.index(parts[1]) > ORDER.index(here):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {here} imports {parts[1]}")
    assert not wrong


def test_pure_rooms_have_no_effects() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: imports {name}"
        for path in modules()
        if room(path) in PURE
        for line, name in imports(path)
        if name.split(".")[0] in EFFECTS
    ]
    assert not wrong


def test_a_wrong_arrow_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "bad.py"
    module.write_text("from podwire.kernel import netlink\nimport socket\n")
    assert [name for _, name in imports(module)] == ["podwire.kernel", "socket"]
    assert ORDER.index("kernel") > ORDER.index("cni")


def test_modules_say_what_they_are_for() -> None:
    silent = [str(path.relative_to(ROOT)) for path in modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_modules_stay_readable() -> None:
    long = [str(path.relative_to(ROOT)) for path in modules() if len(path.read_text().splitlines()) > 300]
    assert not long
