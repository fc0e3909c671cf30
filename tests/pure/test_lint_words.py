# SPDX-License-Identifier: Apache-2.0
"""The words lint finds what it must, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lint.words import ALLOWED, PRODUCT, ROOT, TERMS, Allowed, Hit, Term, files, hits_in, judge, text_of

LEFT_ALONE = (
    "headroom",
    "troubleshooting",
    "overlaps, collapse",
    "recommended, amended",
    "in_order, reorder(x), Orders",
    "stubborn",
    "newspaper",
    "the gap, a fact, a picture",
    "raise LookupError",
    "painstaking",
    "settlement",
    "plugin, plugged in",
)


def words(text: str, name: str = "src/podwire/a.py") -> list[str]:
    return [hit.word for hit in hits_in(name, text)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("the plug-in's name", "plug-in"),
        ("class Mender(Thread):", "Mender"),
        ("def test_what_is_mended_is_told():", "mended"),
        ("host.join_laps()", "laps"),
        ("raw = settle(raw)", "settle("),
        ("self.pod_ranges", "pod_ranges"),
        ("the pod ranges", "pod ranges"),
        ('"PodRangeTaken"', "PodRangeTaken"),
        ("for one in links:", "for one in"),
        ("what is being\nbrought about", "brought about"),
        ("Fact(1)", "Fact"),
        ("`raises `lo` here", "raises `lo"),
        ("the fast path, a fastpath", "fast path"),
        ("somebody else's route", "somebody else's"),
    ],
)
def test_a_forbidden_word_is_found(text: str, word: str) -> None:
    assert word in words(text)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_other_words_are_left_alone(text: str) -> None:
    assert words(text) == []


def test_a_hit_has_its_line_and_the_term_to_use() -> None:
    (hit,) = hits_in("src/a.py", "one\ntwo\nthe Mender\n")
    assert str(hit) == "src/a.py:3: 'Mender': use restore, reconciler"


def test_names_of_files_are_read() -> None:
    assert [(hit.line, hit.word) for hit in hits_in("tests/pure/test_laps.py", "")] == [(0, "laps")]


def test_some_words_are_forbidden_in_the_product_alone() -> None:
    assert words("somebody", "docs/a.md") == ["somebody"]
    assert words("somebody", "tests/a.py") == []


def test_the_changelog_is_read_to_its_newest_release(tmp_path: Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## Unreleased\n\n## 0.2.0 - 1\n\nnew\n\n## 0.1.0 - 1\n\nmended\n")
    assert "new" in text_of(changelog) and "mended" not in text_of(changelog)


def test_what_is_allowed_is_no_fault_and_an_entry_that_allows_nothing_is_one() -> None:
    hit = Hit("docs/a.md", 1, "pod_ranges", Term("pod ranges", "pod CIDRs"))
    right, stale = Allowed("docs/*", "pod_ranges", "why"), Allowed("src/*", "pod_ranges", "why")
    assert judge([hit], [right]) == []
    assert judge([hit], []) == ["docs/a.md:1: 'pod_ranges': use pod CIDRs"]
    assert judge([hit], [right, stale]) == ["tests/lint/words.py: nothing in src/* needs 'pod_ranges' allowed"]


def test_every_part_of_the_tree_is_read() -> None:
    read = {str(path.relative_to(ROOT)) for path in files()}
    assert {"README.md", "Makefile", "src/podwire/oneshot.py", "shim/podwire.c", "deploy/helm/values.yaml"} <= read
    assert all(any(name.startswith(top) for name in read) for top in PRODUCT)


def test_every_entry_says_why() -> None:
    assert len(TERMS) > 50
    assert [entry.path for entry in ALLOWED if not entry.reason] == []
