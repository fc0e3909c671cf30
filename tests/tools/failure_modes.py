# SPDX-License-Identifier: Apache-2.0
"""docs/failure-modes.md: its rows, and the tests that carry their names.

`python -m tests.tools.failure_modes --write` writes the column of tests anew; a pure test notices when it is stale.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.marks import MarkedTest, marked_tests

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "failure-modes.md"
MARK = "failure_mode"


@dataclass(frozen=True)
class Row:
    """One line of the table: the failure mode's name (without the issues in brackets), and what the line says."""

    name: str
    cells: tuple[str, ...]


def rows(text: str) -> list[Row]:
    """The table's lines, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    split = [tuple(cell.strip() for cell in line.strip().strip("|").split(" |")) for line in lines]
    return [Row(cells[0].partition(" (")[0], cells) for cells in split]


def claims() -> list[MarkedTest]:
    """All tests that carry the mark."""
    found = [test for path in sorted((ROOT / "tests").rglob("test_*.py")) for test in marked_tests(path, MARK)]
    return [test for test in found if test.names]


def document(text: str) -> str:
    """The document with the column of tests as the marks say."""
    shown = {
        row.name: ", ".join(f"`{test.path.stem}::{test.name}`" for test in claims() if row.name in test.names)
        for row in rows(text)
    }
    lines = text.splitlines()
    table = [number for number, line in enumerate(lines) if line.startswith("| ")][1:]
    for number, row in zip(table, rows(text), strict=True):
        lines[number] = f"| {' | '.join([*row.cells[:3], shown[row.name]])} |"
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    made = document(DOCUMENT.read_text(encoding="utf-8"))
    if "--write" in sys.argv:
        DOCUMENT.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)
