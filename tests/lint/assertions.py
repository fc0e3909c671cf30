"""Refuse tests that cannot fail: `python -m tests.lint.assertions [FOLDER]`, a part of `make lint`.

Each `*_faults` function knows one form. What a syntax tree cannot tell (whether a value is the right one) is left to
the reader; where a form is refused although the test is good, the test can always be written so that the tree shows it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lint.asserting import ANSWERING, ASSERTING, FILLED, FOREIGN, GIVEN, NAMING
from tests.lint.filled import Filled, Known

TESTS = Path(__file__).parents[1]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
COLLECTING = frozenset({"append", "add", "extend", "update", "insert", "setdefault"})
COLLECTIONS = frozenset({"list", "dict", "set", "deque", "defaultdict", "Counter"})
SWALLOWING = frozenset({"AssertionError", "Exception", "BaseException"})
STATUS = frozenset({"ok", "returncode", "status"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
Fault = tuple[int, str]


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

    def filled(self) -> Filled:
        """A judge of loops that has seen no assertion yet."""
        given = {each.arg for each in self.function.args.args}
        named = [each.optional_vars for each in ast.walk(self.function) if isinstance(each, ast.withitem)]
        given |= {ast.unparse(each) for each in named if each is not None}
        known = {**self.bindings, **_bindings(self.function)}
        return Filled(known, _parameters_of_marks(self.function) | given & GIVEN)


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


def _bindings(scope: ast.AST) -> Known:
    """Names that are assigned once, by a plain assignment."""
    found: Known = {}
    stored: list[str] = [each.id for each in ast.walk(scope) if isinstance(each, ast.Name) and _is_stored(each)]
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


def _is_stored(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _parameters_of_marks(function: Function) -> set[str]:
    """The names that `pytest.mark.parametrize` gives: somebody wrote their values down to be looped over."""
    names: set[str] = set()
    for each in function.decorator_list:
        if called(each) == "parametrize" and isinstance(each, ast.Call):
            first = each.args[0]
            text = first.value if isinstance(first, ast.Constant) else ""
            names.update(name.strip() for name in str(text).split(","))
            if isinstance(first, (ast.Tuple, ast.List)):
                names.update(str(item.value) for item in first.elts if isinstance(item, ast.Constant))
    return names


@dataclass
class Ways:
    """Follows the ways through a function's body; `used` are the names that it reads."""

    filled: Filled
    used: set[str]
    asserting: frozenset[str]

    @classmethod
    def of(cls, scope: Scope) -> Ways:
        """Those of one function."""
        names = [each for each in ast.walk(scope.function) if isinstance(each, ast.Name)]
        return cls(scope.filled(), {each.id for each in names if not _is_stored(each)}, scope.asserting)

    def surely(self, body: list[ast.stmt]) -> bool:
        """Whether every way through `body` comes past an assertion."""
        return any(self._passes(each) for each in body)

    def _passes(self, each: ast.stmt) -> bool:
        match each:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                sure = each.name in self.used and self.surely(each.body)
            case ast.For() | ast.AsyncFor():
                sure = self._asserts(each.iter) or (self.filled(each.iter) and self.surely(each.body))
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


def missing_faults(scope: Scope) -> Iterator[Fault]:
    """A test that has no assertion, or one only in a branch or in a loop that may not run."""
    if not scope.is_test:
        return
    if not Ways.of(scope).surely(scope.function.body):
        some = any(asserts(each, scope.asserting) for each in ast.walk(scope.function) if isinstance(each, ast.stmt))
        what = "asserts only where a branch or a loop leads that may not run" if some else "asserts nothing"
        yield scope.function.lineno, f"{scope.function.name} {what}"


def empty_faults(scope: Scope) -> Iterator[Fault]:
    """`all(…)` and `not any(…)` are true of nothing: what they go through has to be shown to be something."""
    filled = scope.filled()
    found = [each for each in ast.walk(scope.function) if isinstance(each, (ast.Assert, ast.For))]
    for each in sorted(found, key=lambda one: one.lineno):
        if isinstance(each, ast.Assert):
            yield from _empty_in(each.test, filled)
            filled.learn(each.test)
        elif scope.is_test and asserts(each, scope.asserting) and not filled(each.iter):
            yield each.lineno, f"a loop of assertions over what may be empty: {ast.unparse(each.iter)}"


def _empty_in(node: ast.AST, filled: Filled) -> Iterator[Fault]:
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for value in node.values:
            yield from _empty_in(value, filled)
            filled.learn(value)
        return
    negated = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    judged = node.operand if isinstance(node, ast.UnaryOp) and negated else node
    if isinstance(judged, ast.Call) and called(judged) == ("any" if negated else "all"):
        through = _unfiltered(judged.args[0]) if negated else judged.args[0]
        if not filled(through):
            yield judged.lineno, f"true also of nothing: {ast.unparse(node)}"
    for child in ast.iter_child_nodes(node) if not negated else ():
        yield from _empty_in(child, filled)


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
    """A value compared with itself, with what is made of it, or with its own default."""
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
    """`assert x or True`, `assert (x for x in xs)`, `"" in x`, and waiting without looking at the answer."""
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Assert):
            choices = each.test.values if isinstance(each.test, ast.BoolOp) else [each.test]
            if any(_is_true(one) for one in choices):
                yield each.lineno, f"always true: {ast.unparse(each)}"
        elif isinstance(each, ast.Expr) and called(each.value) in ANSWERING & scope.own:
            yield each.lineno, f"the answer is dropped: {ast.unparse(each)}"


def _is_true(node: ast.expr) -> bool:
    """Whether it is true whatever happens. `assert True` stands for "it came this far" and is one of them."""
    if isinstance(node, ast.Compare):
        return isinstance(node.left, ast.Constant) and node.left.value == "" and isinstance(node.ops[0], ast.In)
    return isinstance(node, (ast.GeneratorExp, ast.Lambda, ast.JoinedStr)) or _is_constantly_true(node)


def _is_constantly_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and bool(node.value)


def return_faults(scope: Scope) -> Iterator[Fault]:
    """A test that returns early passes without a word: `pytest.skip` and `assume` are counted."""
    if scope.is_test:
        for each in inside(scope.function):
            if isinstance(each, ast.Return):
                yield each.lineno, f"{scope.function.name} returns: skip, assume, or make it another test"


def failure_faults(scope: Scope) -> Iterator[Fault]:
    """Any failure is taken for the right one: an exception or an exit status of which nothing is read."""
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
                yield each.context_expr.lineno, "pytest.raises without `match`, and what is raised is not looked at"
        elif isinstance(each, ast.Expr) and called(each.value) in NAMING and scope.is_test:
            assert isinstance(each.value, ast.Call)
            first = each.value.args[0]
            looked = isinstance(first, ast.Name) and {attr for name, attr in reads if name == first.id} - STATUS
            if len(each.value.args) == 1 and not each.value.keywords and not looked:
                yield each.lineno, f"any failure will do: {ast.unparse(each)}"
        elif isinstance(each, ast.Assert) and scope.is_test:
            judged = _any_failure(each.test)
            told = isinstance(judged, ast.Name) and {attr for name, attr in reads if name == judged.id} - STATUS
            if judged is not None and not told:
                yield each.lineno, f"any failure will do: {ast.unparse(each)}"


def _any_failure(test: ast.expr) -> ast.expr | None:
    """What is only said to have failed: `not done.ok`, `done.returncode`, `done.returncode != 0`."""
    wanted = "returncode", "status"
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, wanted = test.operand, ("ok", "ok")
    elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotEq):
        right = test.comparators[0]
        test = test.left if isinstance(right, ast.Constant) and right.value == 0 else right
    return test.value if isinstance(test, ast.Attribute) and test.attr in wanted else None


def swallowed_faults(scope: Scope) -> Iterator[Fault]:
    """An assertion whose failure is caught and forgotten."""
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Try) and any(asserts(one, scope.asserting) for one in each.body):
            for handler in each.handlers:
                caught = (
                    {one.id for one in ast.walk(handler.type) if isinstance(one, ast.Name)} if handler.type else set()
                )
                told = any(
                    isinstance(one, (ast.Raise, ast.Assert)) or (isinstance(one, ast.Name) and one.id == handler.name)
                    for one in ast.walk(handler)
                )
                if (not handler.type or caught & SWALLOWING) and not told:
                    yield handler.lineno, "a failed assertion is caught here"
        elif isinstance(each, ast.With) and any(asserts(one, scope.asserting) for one in each.body):
            for item in each.items:
                names = {one.id for one in ast.walk(item.context_expr) if isinstance(one, ast.Name)}
                if called(item.context_expr) == "suppress" and names & SWALLOWING:
                    yield each.lineno, "a failed assertion is suppressed here"


def collected_faults(scope: Scope) -> Iterator[Fault]:
    """A collection that only grows: what was gathered to be asserted, and is not."""
    writes: set[int] = set()
    for each in ast.walk(scope.function):
        if isinstance(each, ast.Expr) and called(each.value) in COLLECTING and isinstance(each.value, ast.Call):
            writes.add(id(each.value.func.value) if isinstance(each.value.func, ast.Attribute) else 0)
        elif isinstance(each, ast.Subscript) and isinstance(each.ctx, ast.Store):
            writes.add(id(each.value))
    names = [each for each in ast.walk(scope.function) if isinstance(each, ast.Name)]
    for name, value in _bindings(scope.function).items():
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


def scopes(tree: ast.Module, in_test_file: bool) -> list[Scope]:
    """The functions of a module and the methods of its classes."""
    bindings = _bindings_at_top(tree)
    members = [one for each in tree.body for one in (each.body if isinstance(each, ast.ClassDef) else [each])]
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
        sure = {each.function.name for each in found if Ways.of(each).surely(each.function.body)}
        asserting = others | {name for name in sure if not name.startswith("test_")}
    return found


def _bindings_at_top(tree: ast.Module) -> Known:
    plain = [each for each in tree.body if isinstance(each, (ast.Assign, ast.AnnAssign))]
    return _bindings(ast.Module(body=list(plain), type_ignores=[]))


def faults_of(path: Path) -> Iterator[Fault]:
    """Every fault of one file, by line."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for scope in scopes(tree, path.name.startswith("test_")):
        for rule in FAULTS:
            yield from rule(scope)


def list_faults(folder: Path) -> Iterator[str]:
    """Names of `ASSERTING` that are defined nowhere in `folder`, or whose definition cannot fail."""
    for name in sorted(ASSERTING - FOREIGN | FILLED):
        found = [
            each
            for path in sorted(folder.rglob("*.py"))
            if not path.name.startswith("test_")
            for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(each, FUNCTION) and each.name == name
        ]
        if not found:
            yield f"tests/lint/asserting.py: no function is called {name}"
        for each in found:
            if not _can_fail(each):
                yield f"tests/lint/asserting.py: {name} (line {each.lineno} of its file) does not assert"


def _can_fail(function: Function) -> bool:
    return any(
        isinstance(each, (ast.Assert, ast.Raise))
        or called(each) in ASSERTING
        or (isinstance(each, ast.keyword) and each.arg == "check" and _is_constantly_true(each.value))
        for each in ast.walk(function)
    )


def main(arguments: list[str]) -> int:
    """Print the faults of all tests, `path:line: what`; 1 if there are any."""
    folder = Path(arguments[0]) if arguments else TESTS
    found = [
        f"{path}:{line}: {what}" for path in sorted(folder.rglob("*.py")) for line, what in sorted(faults_of(path))
    ]
    if folder == TESTS:
        found += list_faults(folder)
    print("\n".join(found) if found else "every test can fail")  # noqa: T201
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
