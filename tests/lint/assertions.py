# SPDX-License-Identifier: Apache-2.0
"""Refuse tests that cannot fail: `python -m tests.lint.assertions [FOLDER]`, a part of `make lint`.

What a syntax tree cannot tell (whether a value is the right one) is left to the reader. There is no comment that
switches a rule off: a good test that is refused can be written so that the tree shows that it is good.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.lint.asserting import ASSERTING, FOREIGN, NONEMPTY_CALLS
from tests.lint.functions import FUNCTION, Function, called, is_true, scopes
from tests.lint.rules import FAULTS, Fault

TESTS = Path(__file__).parents[1]


def faults_of(path: Path) -> Iterator[Fault]:
    """Every fault of one file, by line."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for scope in scopes(tree, path.name.startswith("test_")):
        for rule in FAULTS:
            yield from rule(scope)


def list_faults(folder: Path) -> Iterator[str]:
    """Names of `ASSERTING` that are defined nowhere in `folder`, or whose definition cannot fail."""
    for name in sorted(ASSERTING - FOREIGN | NONEMPTY_CALLS):
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
        or (isinstance(each, ast.keyword) and each.arg == "check" and is_true(each.value))
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
