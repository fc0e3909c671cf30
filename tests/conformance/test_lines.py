# SPDX-License-Identifier: Apache-2.0
"""Pure: every line of docs/conformance.md is shown by a test, and every test of the suite names its lines."""

from __future__ import annotations

from tests.conformance.lines import DOCUMENT, LAST_NUMBER, LINES, document, suite


def test_every_number_is_a_line() -> None:
    """The lines 1 to 36 are all there, once."""
    names = [line.name for line in LINES]
    assert len(names) == len(set(names))
    assert {str(number) for number in range(1, LAST_NUMBER + 1)} <= set(names)


def test_every_line_is_shown() -> None:
    """Each line has a test, or says why it cannot have one."""
    shown = set().union(*(test.names for test in suite()))
    assert not [line.name for line in LINES if line.name not in shown and not line.untestable]


def test_every_test_names_its_lines() -> None:
    """Each test of the suite is marked with lines that exist."""
    known = {line.name for line in LINES}
    own = {"test_lines", "test_reference"}
    tests = suite()
    assert len(tests) > len(LINES)
    for test in tests:
        if test.path.stem not in own:
            assert test.names, f"{test.path.name}::{test.name} names no line"
            assert test.names <= known, f"{test.path.name}::{test.name}: {test.names - known}"


def test_the_document_is_fresh() -> None:
    """docs/conformance.md is what `python -m tests.conformance.lines --write` would write."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()
