# SPDX-License-Identifier: Apache-2.0
"""Every row of docs/failure-modes.md is shown by tests that run, and every test that claims one names a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.marks import marked_tests
from tests.tools.failure_modes import DOCUMENT, MARK, ROOT, claims, document, rows

ROWS = rows(DOCUMENT.read_text(encoding="utf-8"))


def test_names_are_unique_and_rows_are_whole() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) > 10
    assert {len(row.cells) for row in ROWS} == {4}


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_every_row_is_shown_by_a_test(name: str) -> None:
    assert [test.name for test in claims() if name in test.names]


def test_every_mark_names_a_row() -> None:
    named = set().union(*(test.names for test in claims()))
    assert named == {row.name for row in ROWS}


def test_the_tests_run() -> None:
    """They are in a folder that the Makefile hands to pytest, and no mark of theirs leaves them out."""
    words = {word for line in (ROOT / "Makefile").read_text().splitlines() for word in line.split()}
    found = claims()
    assert len(found) > len(ROWS)
    for test in found:
        assert str(test.path.parent.relative_to(ROOT)) in words, test
        assert not test.may_be_skipped, test


def test_the_document_is_fresh() -> None:
    """It is what `python -m tests.tools.failure_modes --write` would write."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == document(text)


FILE = """
import pytest
@pytest.mark.{mark}("a", "b")
def test_one(): ...
@pytest.mark.{mark}("c")
@pytest.mark.skipif(True, reason="")
def test_two(): ...
@pytest.mark.{mark}("d")
def not_a_test(): ...
class TestMore:
    def test_three(self): ...
@pytest.mark.skip
class TestNone:
    def test_four(self): ...
"""


@pytest.mark.parametrize("whole", [False, True])
def test_marks_are_read(tmp_path: Path, whole: bool) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(FILE.format(mark=MARK) + "pytestmark = [pytest.mark.timeout(5), pytest.mark.skip]\n" * whole)
    found = {test.name: (set(test.names), test.may_be_skipped) for test in marked_tests(file, MARK)}
    assert found == {
        "test_one": ({"a", "b"}, whole),
        "test_two": ({"c"}, True),
        "test_three": (set(), whole),
        "test_four": (set(), True),
    }
