# SPDX-License-Identifier: Apache-2.0
"""Whether an iterable has at least one item, as far as the source shows it."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from tests.lint.asserting import NONEMPTY_CALLS, NONEMPTY_NAMES

LIKE_THEIR_ARGUMENTS = frozenset(
    {
        "enumerate",
        "zip",
        "sorted",
        "reversed",
        "list",
        "tuple",
        "set",
        "frozenset",
        "dict",
        "product",
        "pairwise",
        "iter",
    }
)
VIEWS = frozenset({"items", "keys", "values"})

Known = dict[str, ast.expr]
"""What names are bound to once, as far as it is written in the same function or at the top of the same file."""


class NonEmpty:
    """Judges expressions inside one function: `known` are bindings, `shown` what an `assert` before has shown."""

    def __init__(self, known: Known, given: Iterable[str] = ()) -> None:
        self.known = known
        self.given = set(given)
        self.shown: set[str] = set()

    def __call__(self, node: ast.expr) -> bool:
        """Whether a loop over `node` runs at least once."""
        match node:
            case _ if ast.dump(node) in self.shown:
                nonempty = True
            case ast.List() | ast.Tuple() | ast.Set():
                nonempty = any(not isinstance(each, ast.Starred) or self(each.value) for each in node.elts)
            case ast.Dict():
                nonempty = any(key is not None for key in node.keys)
            case ast.Constant():
                nonempty = bool(node.value)
            case ast.Name():
                nonempty = self._name(node.id)
            case ast.Attribute():
                nonempty = node.attr.isupper() or node.attr in NONEMPTY_NAMES
            case ast.Call():
                nonempty = self._call(node)
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                nonempty = all(self(each.iter) and not each.ifs for each in node.generators)
            case ast.BinOp():
                nonempty = isinstance(node.op, (ast.Add, ast.BitOr)) and (self(node.left) or self(node.right))
            case ast.IfExp():
                nonempty = self(node.body) and self(node.orelse)
            case ast.Subscript():
                nonempty = self._part(node)
            case _:
                nonempty = False
        return nonempty

    def _part(self, node: ast.Subscript) -> bool:
        """The beginning of what is not empty, or an entry of a table."""
        if isinstance(node.slice, ast.Slice):
            if isinstance(node.value, ast.Name) and node.value.id.isupper():
                return all(isinstance(each, ast.Constant) for each in ast.iter_child_nodes(node.slice))
            begins = node.slice.lower is None and isinstance(node.slice.upper, ast.Constant)
            return begins and self(node.value)
        return isinstance(node.value, ast.Name) and node.value.id.isupper()

    def _name(self, name: str) -> bool:
        if name in self.given:
            return True
        if name in self.known:
            bound = self.known.pop(name)  # while it is judged it is unknown: a name may be bound to itself
            try:
                return self(bound)
            finally:
                self.known[name] = bound
        return name.isupper()

    def _call(self, node: ast.Call) -> bool:
        called = node.func
        if isinstance(called, ast.Attribute):
            return called.attr in NONEMPTY_NAMES or (called.attr in VIEWS and self(called.value))
        if not isinstance(called, ast.Name) or not node.args:
            return False
        if called.id in NONEMPTY_CALLS:
            return True
        if called.id == "range":
            return all(self._number(argument) for argument in node.args)
        if called.id in ("map", "combinations"):
            return all(self(argument) for argument in node.args[1:])
        strict = any(each.arg == "strict" and _is_true(each.value) for each in node.keywords)
        enough = any if strict else all  # a strict zip is as long as each of its arguments
        return called.id in LIKE_THEIR_ARGUMENTS and enough(self(argument) for argument in node.args)

    def learn(self, test: ast.expr) -> None:
        """`test` has been asserted: what it says about expressions that are not empty."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            for value in test.values:
                self.learn(value)
        elif isinstance(test, ast.Compare):
            terms = [test.left, *test.comparators]
            for left, operator, right in zip(terms, test.ops, terms[1:], strict=False):
                self._learn_comparison(left, operator, right, terms)
        else:
            self._show(test)

    def _show(self, node: ast.expr) -> None:
        """`node` is not empty; so is what it was made of, one for one."""
        self.shown.add(ast.dump(node))
        if isinstance(node, (ast.ListComp, ast.SetComp)) and len(node.generators) == 1:
            self._show(node.generators[0].iter)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in LIKE_THEIR_ARGUMENTS:
            for argument in node.args[:1]:
                self._show(argument)
        elif isinstance(node, ast.Subscript):
            self._show(node.value)

    def _learn_comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr, terms: list[ast.expr]) -> None:
        if isinstance(operator, ast.In):
            self._show(right)
        counted = _counted(left)
        if counted is not None and isinstance(operator, (ast.Eq, ast.Gt, ast.GtE)):
            if isinstance(operator, ast.Gt) or any(self._not_zero(each) for each in terms):
                self._show(counted)
        elif isinstance(operator, ast.Eq):
            for one, other in ((left, right), (right, left)):
                if self(other) or isinstance(one, ast.Subscript):
                    self._show(one)
        elif isinstance(operator, ast.LtE) and self(left):  # a set in another one
            self._show(right)

    def _not_zero(self, node: ast.expr) -> bool:
        counted = _counted(node)
        return self(counted) if counted is not None else not isinstance(node, ast.Constant) or bool(node.value)

    def _number(self, node: ast.expr) -> bool:
        """A number, a table's entry, or a constant of a module: what a range that is meant to run is made of."""
        if isinstance(node, ast.BinOp):
            return self._number(node.left) and self._number(node.right)
        if (counted := _counted(node)) is not None:
            return self(counted)
        return isinstance(node, ast.Constant) or (
            isinstance(node, ast.Name) and (node.id.isupper() or node.id in self.given)
        )


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _counted(node: ast.expr) -> ast.expr | None:
    """What `len(…)` counts."""
    is_len = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"
    return node.args[0] if is_len and isinstance(node, ast.Call) else None
