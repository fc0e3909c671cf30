# SPDX-License-Identifier: Apache-2.0
"""The forms that a test takes when it cannot fail. Each function finds one, in one function of a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.lint.asserting import NEEDING_A_CODE, RETURNING_BOOL
from tests.lint.functions import Paths, Scope, asserts, bindings_of, called, inside, is_true
from tests.lint.nonempty import NonEmpty

COLLECTING = frozenset({"append", "add", "extend", "update", "insert", "setdefault"})
COLLECTIONS = frozenset({"list", "dict", "set", "deque", "defaultdict", "Counter"})
SWALLOWING = frozenset({"AssertionError", "Exception", "BaseException"})
STATUS = frozenset({"ok", "returncode", "status"})

Fault = tuple[int, str]


def missing_faults(scope: Scope) -> Iterator[Fault]:
    """A test that has no assertion, or one only in a branch or in a loop that may not run."""
    if not scope.is_test:
        return
    if not Paths.of(scope).surely(scope.function.body):
        some = any(asserts(each, scope.asserting) for each in ast.walk(scope.function) if isinstance(each, ast.stmt))
        what = "asserts only in a branch or a loop that may not run" if some else "asserts nothing"
        yield scope.function.lineno, f"{scope.function.name} {what}"


def empty_faults(scope: Scope) -> Iterator[Fault]:
    """`all(…)` and `not any(…)` over what may be empty, and assertions in a loop over it."""
    nonempty = scope.nonempty()
    found = [each for each in ast.walk(scope.function) if isinstance(each, (ast.Assert, ast.For))]
    for each in sorted(found, key=lambda one: one.lineno):
        if isinstance(each, ast.Assert):
            yield from _empty_in(each.test, nonempty)
            nonempty.learn(each.test)
        elif scope.is_test and asserts(each, scope.asserting) and not nonempty(each.iter):
            yield each.lineno, f"a loop of assertions over what may be empty: {ast.unparse(each.iter)}"


def _empty_in(node: ast.AST, nonempty: NonEmpty) -> Iterator[Fault]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _empty_in(value, nonempty)
            nonempty.learn(value)
        return
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    judged = node.operand if isinstance(node, ast.UnaryOp) and negated else node
    if isinstance(judged, ast.Call) and ast.unparse(judged.func) == ("any" if negated else "all"):
        through = _unfiltered(judged.args[0]) if negated else judged.args[0]
        if not nonempty(through):
            yield judged.lineno, f"also true of an empty iterable: {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node) if not negated else ():
        yield from _empty_in(child, nonempty)


def _unfiltered(node: ast.expr) -> ast.expr:
    """`not any(a for x in xs if b)` looks at every x for a and b."""
    if not isinstance(node, ast.GeneratorExp):
        return node
    return ast.GeneratorExp(node.elt, [ast.comprehension(each.target, each.iter, [], 0) for each in node.generators])


def _without_calls(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not isinstance(node, ast.Call):
        for child in ast.iter_child_nodes(node):
            yield from _without_calls(child)


def same_faults(scope: Scope) -> Iterator[Fault]:
    """A value compared with itself, with a display that contains it, or with its own default."""
    for each in ast.walk(scope.function):
        if not isinstance(each, ast.Compare) or not isinstance(each.ops[0], (ast.Eq, ast.Is, ast.LtE, ast.GtE)):
            continue
        sides = (each.left, each.comparators[0])
        for one, other in (sides, sides[::-1]):
            parts = {ast.dump(part) for part in _without_calls(other)} if not isinstance(one, ast.Constant) else set()
            default = called(one) == "get" and isinstance(one, ast.Call) and one.args[1:]
            if ast.dump(one) in parts or (default and not isinstance(other, ast.Constant) and _same(default[0], other)):
                yield each.lineno, f"compared with itself: {ast.unparse(each)}"
                break


def _same(one: ast.AST, other: ast.AST) -> bool:
    return ast.dump(one) == ast.dump(other)


def true_faults(scope: Scope) -> Iterator[Fault]:
    """`assert x or True`, `assert (x for x in xs)`, `"" in x`, and a dropped `wait_until(…)`."""
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Assert):
            choices = each.test.values if isinstance(each.test, ast.BoolOp) else [each.test]
            if any(_always_true(choice) for choice in choices):
                yield each.lineno, f"always true: {ast.unparse(each)}"
        elif isinstance(each, ast.Expr) and called(each.value) in RETURNING_BOOL & scope.own:
            yield each.lineno, f"the value is dropped: {ast.unparse(each)}"


def _always_true(node: ast.expr) -> bool:
    """Whether it is true whatever the product does; `assert True` is, too."""
    if isinstance(node, ast.Compare):
        return isinstance(node.left, ast.Constant) and node.left.value == "" and isinstance(node.ops[0], ast.In)
    return isinstance(node, (ast.GeneratorExp, ast.Lambda, ast.JoinedStr)) or is_true(node)


def return_faults(scope: Scope) -> Iterator[Fault]:
    """A test that returns early passes unseen; `pytest.skip` and `assume` are counted."""
    if scope.is_test:
        for each in inside(scope.function):
            if isinstance(each, ast.Return):
                yield each.lineno, f"{scope.function.name} returns: use pytest.skip or assume, or split the test"


def failure_faults(scope: Scope) -> Iterator[Fault]:
    """Any failure is accepted: an exception or an exit status of which nothing more is read."""
    reads = {
        (each.value.id, each.attr)
        for each in ast.walk(scope.function)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)
    }
    read = {name for name, _ in reads}
    for each in ast.walk(scope.function):
        if isinstance(each, ast.withitem) and called(each.context_expr) == "raises":
            assert isinstance(each.context_expr, ast.Call)
            kept = isinstance(each.optional_vars, ast.Name) and each.optional_vars.id in read
            if not kept and "match" not in {keyword.arg for keyword in each.context_expr.keywords}:
                yield each.context_expr.lineno, "pytest.raises without `match`, and what is raised is not read"
        elif isinstance(each, ast.Expr) and called(each.value) in NEEDING_A_CODE and scope.is_test:
            assert isinstance(each.value, ast.Call)
            first = each.value.args[0]
            looked = isinstance(first, ast.Name) and {attr for name, attr in reads if name == first.id} - STATUS
            if len(each.value.args) == 1 and not each.value.keywords and not looked:
                yield each.lineno, f"any failure is accepted: {ast.unparse(each)}"
        elif isinstance(each, ast.Assert) and scope.is_test:
            judged = _any_failure(each.test)
            told = isinstance(judged, ast.Name) and {attr for name, attr in reads if name == judged.id} - STATUS
            if judged is not None and not told:
                yield each.lineno, f"any failure is accepted: {ast.unparse(each)}"


def _any_failure(test: ast.expr) -> ast.expr | None:
    """The command whose failure is all that is asserted: `not done.ok`, `done.returncode`, `done.returncode != 0`."""
    wanted = "returncode", "status"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, wanted = test.operand, ("ok", "ok")
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotEq):
        right = test.comparators[0]
        test = test.left if isinstance(right, ast.Constant) and right.value == 0 else right
    return test.value if isinstance(test, ast.Attribute) and test.attr in wanted else None


def swallowed_faults(scope: Scope) -> Iterator[Fault]:
    """An assertion whose failure is caught and dropped."""
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Try) and any(asserts(part, scope.asserting) for part in each.body):
            for handler in each.handlers:
                caught = (
                    {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
                    if handler.type
                    else set()
                )
                told = any(
                    isinstance(node, (ast.Raise, ast.Assert))
                    or (isinstance(node, ast.Name) and node.id == handler.name)
                    for node in ast.walk(handler)
                )
                if (not handler.type or caught & SWALLOWING) and not told:
                    yield handler.lineno, "a failed assertion is caught here"
        elif isinstance(each, ast.With) and any(asserts(part, scope.asserting) for part in each.body):
            for item in each.items:
                names = {node.id for node in ast.walk(item.context_expr) if isinstance(node, ast.Name)}
                if called(item.context_expr) == "suppress" and names & SWALLOWING:
                    yield each.lineno, "a failed assertion is suppressed here"


def collected_faults(scope: Scope) -> Iterator[Fault]:
    """A collection that is filled and never read."""
    writes: set[int] = set()
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Expr) and called(each.value) in COLLECTING and isinstance(each.value, ast.Call):
            writes.add(id(each.value.func.value) if isinstance(each.value.func, ast.Attribute) else 0)
        elif isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store):
            writes.add(id(each.value))
    names = [each for each in ast.walk(scope.function) if isinstance(each, ast.Name)]
    for name, value in bindings_of(scope.function).items():
        loads = [each for each in names if each.id == name and isinstance(each.ctx, ast.Load)]
        grows = isinstance(value, (ast.List, ast.Dict, ast.Set)) or called(value) in COLLECTIONS
        if grows and loads and all(id(each) in writes for each in loads):
            yield value.lineno, f"{name} is collected and never read"


FAULTS = (
    missing_faults,
    empty_faults,
    same_faults,
    true_faults,
    return_faults,
    failure_faults,
    swallowed_faults,
    collected_faults,
)
