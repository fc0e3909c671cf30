# SPDX-License-Identifier: Apache-2.0
"""Tests and the names that their marks carry, read from the source: no test has to be imported or run for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SKIPPING = ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")


@dataclass(frozen=True)
class MarkedTest:
    """A test function, the names in its marks of one kind, and whether pytest may leave it out."""

    path: Path
    name: str
    names: frozenset[str]
    doc: str
    may_be_skipped: bool


def marked_tests(path: Path, mark: str) -> Iterator[MarkedTest]:
    """Every test function of a file, with the arguments of its `@pytest.mark.MARK(…)`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole_file = any(
        _skips(value)
        for each in tree.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "pytestmark"
        for value in ast.walk(each.value)
    )
    owners: list[tuple[ast.Module | ast.ClassDef, bool]] = [(tree, whole_file)]
    owners += [(each, whole_file or _decorated(each)) for each in tree.body if isinstance(each, ast.ClassDef)]
    for owner, skipped in owners:
        for node in owner.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                names = frozenset(_arguments(node, mark))
                yield MarkedTest(path, node.name, names, ast.get_docstring(node) or "", skipped or _decorated(node))


def _arguments(function: ast.FunctionDef, mark: str) -> Iterator[str]:
    for each in function.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func) == f"pytest.mark.{mark}":
            yield from (str(argument.value) for argument in each.args if isinstance(argument, ast.Constant))


def _decorated(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(_skips(each) for each in node.decorator_list)


def _skips(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return isinstance(called, ast.Attribute) and ast.unparse(called) in SKIPPING
