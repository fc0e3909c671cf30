# SPDX-License-Identifier: Apache-2.0
"""What the checks see of a test file: its functions, what their names are bound to, and which of them assert."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from tests.lint.asserting import ASSERTING, NONEMPTY_NAMES
from tests.lint.nonempty import Known, NonEmpty

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Scope:
    """One outermost function (or method) of a file, and what the names in it are bound to."""

    function: Function
    in_test_file: bool
    bindings: Known = field(default_factory=dict)
    asserting: frozenset[str] = ASSERTING
    own: frozenset[str] = frozenset()
    """What the file has from tests/: the lab has a `wait_until` too, and that one raises."""

    @property
    def is_test(self) -> bool:
        """Whether pytest collects it."""
        return self.in_test_file and self.function.name.startswith("test_")

    def nonempty(self) -> NonEmpty:
        """What is known not to be empty before the first assertion."""
        given = {each.arg for each in self.function.args.args}
        named = [each.optional_vars for each in ast.walk(self.function) if isinstance(each, ast.withitem)]
        given |= {ast.unparse(each) for each in named if each is not None}
        known = {**self.bindings, **bindings_of(self.function)}
        return NonEmpty(known, _parameters_of_marks(self.function) | given & NONEMPTY_NAMES)


def called(node: ast.AST) -> str:
    """The last name of what is called: `node.silent(…)` is `silent`; empty where there is none."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def inside(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and what is below it, without the bodies of functions that are only defined there."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTION, ast.Lambda)):
            yield from inside(child)


def asserts(node: ast.AST, asserting: frozenset[str]) -> bool:
    """Whether it holds an assertion or calls what asserts."""
    return any(isinstance(each, ast.Assert) or called(each) in asserting for each in inside(node))


def bindings_of(scope: ast.AST) -> Known:
    """Names that are assigned once, by a plain assignment."""
    found: Known = {}
    stored: list[str] = [each.id for each in ast.walk(scope) if _is_stored(each)]
    for target, value in _assignments(scope):
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=False))
        found.update({one.id: bound for one, bound in pairs if isinstance(one, ast.Name) and stored.count(one.id) == 1})
    return found


def _assignments(scope: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    for each in ast.walk(scope):
        if isinstance(each, ast.Assign):
            yield from ((target, each.value) for target in each.targets)
        elif isinstance(each, ast.AnnAssign) and each.value is not None:
            yield each.target, each.value


def _parameters_of_marks(function: Function) -> set[str]:
    """The parameters that `pytest.mark.parametrize` gives: their values are written in the test."""
    names: set[str] = set()
    for each in function.decorator_list:
        if called(each) == "parametrize" and isinstance(each, ast.Call):
            first = each.args[0]
            text = first.value if isinstance(first, ast.Constant) else ""
            names.update(name.strip() for name in str(text).split(","))
            if isinstance(first, (ast.Tuple, ast.List)):
                names.update(str(item.value) for item in first.elts if isinstance(item, ast.Constant))
    return names


def is_true(node: ast.expr) -> bool:
    """Whether it is a constant that is true."""
    return isinstance(node, ast.Constant) and bool(node.value)


def _is_stored(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


@dataclass
class Paths:
    """The paths through a function's body; `used` are the names that it reads."""

    nonempty: NonEmpty
    used: set[str]
    asserting: frozenset[str]

    @classmethod
    def of(cls, scope: Scope) -> Paths:
        """Those of one function."""
        names = {each.id for each in ast.walk(scope.function) if isinstance(each, ast.Name) and not _is_stored(each)}
        return cls(scope.nonempty(), names, scope.asserting)

    def surely(self, body: list[ast.stmt]) -> bool:
        """Whether every path through `body` has an assertion."""
        return any(self._passes(each) for each in body)

    def _passes(self, each: ast.stmt) -> bool:
        match each:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                sure = each.name in self.used and self.surely(each.body)
            case ast.For() | ast.AsyncFor():
                sure = self._asserts(each.iter) or (self.nonempty(each.iter) and self.surely(each.body))
            case ast.While():
                sure = self._asserts(each.test)
            case ast.If():
                sure = self._asserts(each.test) or (self.surely(each.body) and self.surely(each.orelse))
            case ast.With() | ast.AsyncWith():
                sure = any(self._asserts(item) for item in each.items) or self.surely(each.body)
            case ast.Try():
                sure = self.surely(each.body) or self.surely(each.finalbody)
            case ast.Match() | ast.ClassDef():
                sure = False
            case _:
                sure = self._asserts(each)
        return sure

    def _asserts(self, node: ast.AST) -> bool:
        return asserts(node, self.asserting)


def scopes(tree: ast.Module, in_test_file: bool) -> list[Scope]:
    """The functions of a module and the methods of its classes."""
    bindings = _bindings_at_top(tree)
    members = [part for each in tree.body for part in (each.body if isinstance(each, ast.ClassDef) else [each])]
    functions = [each for each in members if isinstance(each, FUNCTION)]
    own = frozenset(
        name.name
        for each in tree.body
        if isinstance(each, ast.ImportFrom) and str(each.module).startswith("tests.")
        for name in each.names
    )
    others = ASSERTING - {each.name for each in functions}
    asserting, before = others, None
    while asserting != before:
        before = asserting
        found = [Scope(each, in_test_file, bindings, asserting, own) for each in functions]
        sure = {each.function.name for each in found if Paths.of(each).surely(each.function.body)}
        asserting = others | {name for name in sure if not name.startswith("test_")}
    return found


def _bindings_at_top(tree: ast.Module) -> Known:
    plain = [each for each in tree.body if isinstance(each, (ast.Assign, ast.AnnAssign))]
    return bindings_of(ast.Module(body=list(plain), type_ignores=[]))
