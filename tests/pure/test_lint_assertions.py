# SPDX-License-Identifier: Apache-2.0
"""The checker of `make lint` refuses each form of a test that cannot fail, with its line, and accepts good tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lint import assertions
from tests.lint.assertions import list_faults, main

ROOT = Path(__file__).parents[2]

GOOD = """
import pytest
from tests.support.namespace import wait_until

TABLE = (1, 2)
EMPTY = ()


def assert_small(number):
    assert number < 10


def looks(number):
    return number < 10


@pytest.fixture
def either(request):
    if request.param:
        yield 1
        return
    yield 2


def test_plain(found):
    assert found == 3


def test_by_a_function_of_the_file():
    assert_small(3)


def test_by_a_listed_function(node):
    node.silent(node.plugin.cni_status())


def test_over_a_table():
    for each in TABLE:
        assert each


@pytest.mark.parametrize("values", [(1, 2)])
def test_over_a_parameter(values):
    for each in values:
        assert each


def test_over_what_is_shown(found):
    assert found
    assert all(each > 1 for each in found)
    for each in found:
        assert each


def test_over_what_is_counted(found):
    assert len(found) == 3 and all(found)
    names = [entry.name for entry in found]
    assert all(names)


def test_over_what_equals_something(found):
    assert sorted(found["nodes"]) == ["a", "b"]
    for each in found["nodes"]:
        assert each


def test_by_an_inner_function(found):
    def right():
        assert found

    right()


def test_in_both_branches(found):
    if found:
        assert found == 3
    else:
        assert found == 4


def test_an_error(found):
    with pytest.raises(ValueError, match="three"):
        found()
    with pytest.raises(ValueError) as refused:
        found()
    assert "four" in str(refused.value)


def test_a_failure(found):
    done = found()
    assert done.returncode != 0 and "no such file" in done.stderr


def test_a_refusal(node):
    node.refused(node.plugin.cni_add(), 7)
    assert "mtu" in node.refused(node.plugin.cni_add())


def test_what_is_collected(found):
    seen = []
    for each in found:
        seen.append(each)
    assert seen == [1, 2]


def test_methods_of_these_names(found):
    assert found.all() and not found.any()


def test_waiting(found):
    assert wait_until(found)


def test_what_is_kept_of_an_error(found):
    errors = []
    try:
        assert found
    except AssertionError as wrong:
        errors.append(wrong)
    assert errors == []


def test_the_default_of_a_key(found):
    assert found.get("mtu", 0) == 0
"""

BAD = {
    "nothing": ("looks(3)", "test_bad asserts nothing"),
    "a comparison that is dropped": ("x = looks(3)", "test_bad asserts nothing"),
    "only in a loop": ("for each in found:\n    assert each", "only in a branch or a loop"),
    "only in a branch": ("if found:\n    assert found == 3", "only in a branch or a loop"),
    "an inner function that is not called": ("def inner():\n    assert found", "only in a branch or a loop"),
    "a loop beside an assertion": ("assert other\nfor each in found:\n    assert each", "what may be empty: found"),
    "a loop over an empty table": ("assert other\nfor each in EMPTY:\n    assert each", "what may be empty: EMPTY"),
    "a loop over a result": ("assert other\nfor each in f(found):\n    assert each", "what may be empty: f(found)"),
    "a part of what is not empty": (
        "assert found\nfor each in [x for x in found if x]:\n    assert each",
        "what may be empty",
    ),
    "all": ("assert all(x > 1 for x in found)", "empty iterable: all("),
    "all of a filtered list": ("assert found\nassert all(x > 1 for x in found if x)", "empty iterable: all("),
    "all, counted by itself": ("assert len(found) == len(set(found)) and all(found)", "empty iterable: all("),
    "all, where zero is counted": ("assert len(found) == 0 and all(found)", "empty iterable: all("),
    "not any": ("assert not any(x > 1 for x in found)", "empty iterable: not any("),
    "all inside a wait": ("assert wait_until(lambda: all(found))", "empty iterable: all("),
    "itself": ("assert found.mtu == found.mtu", "compared with itself"),
    "its own default": ("assert found.get('mtu', other['mtu']) == other['mtu']", "compared with itself"),
    "what holds itself": ("assert found['a'] == {'mtu': found['a']['mtu']}", "compared with itself"),
    "or True": ("assert found or True", "always true"),
    "True": ("assert True", "always true"),
    "a generator": ("assert (x for x in found)", "always true"),
    "the empty string in another": ("assert '' in found", "always true"),
    "a wait that is dropped": ("wait_until(found)\nassert other", "the value is dropped"),
    "a return": ("if found:\n    return\nassert other", "test_bad returns"),
    "any exception": ("with pytest.raises(Exception):\n    found()", "pytest.raises without `match`"),
    "an exception that is not read": (
        "with pytest.raises(ValueError) as error:\n    found()",
        "pytest.raises without `match`",
    ),
    "any exit status": ("done = found()\nassert done.returncode != 0", "any failure is accepted"),
    "any failure": ("assert not found().ok", "any failure is accepted"),
    "any refusal": ("node.refused(found)", "any failure is accepted"),
    "an assertion that is caught": ("try:\n    assert found\nexcept Exception:\n    pass", "is caught here"),
    "an assertion that is suppressed": (
        "with contextlib.suppress(AssertionError):\n    assert found",
        "is suppressed here",
    ),
    "collected": ("seen = []\nfor x in found:\n    seen.append(x)\nassert other", "seen is collected and never read"),
    "collected in a table": ("seen = {}\nseen['a'] = found\nassert other", "seen is collected and never read"),
}


def planted(folder: Path, body: str = "") -> Path:
    """A copy of the good tests, with one more."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    file = folder / "test_planted.py"
    file.write_text(GOOD + (f"\n\ndef test_bad(found, other, node):\n{lines}" if body else ""))
    return file


def test_good_tests_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "every test can fail\n"


@pytest.mark.parametrize("what", BAD)
def test_a_bad_test_is_refused_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    body, words = BAD[what]
    file = planted(tmp_path, body)
    assert main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert words in "\n".join(lines)
    first = len(GOOD.splitlines()) + 3
    assert lines
    for line in lines:
        path, number, _ = line.split(":", 2)
        assert path == str(file) and first <= int(number) <= first + len(body.splitlines()), line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no function is called assert_it"),
        ("def assert_it(x):\n    return x\n", "assert_it (line 1 of its file) does not assert"),
        ("def assert_it(x):\n    run(x, check=False)\n", "assert_it (line 1 of its file) does not assert"),
    ],
)
def test_the_list_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.setattr(assertions, "ASSERTING", frozenset({"assert_it"}))
    monkeypatch.setattr(assertions, "NONEMPTY_CALLS", frozenset())
    (tmp_path / "support.py").write_text(text)
    assert words in "\n".join(list_faults(tmp_path))
    (tmp_path / "support.py").write_text("def assert_it(x):\n    run(x, check=True)\n")
    assert list(list_faults(tmp_path)) == []


def test_a_local_function_of_a_listed_name_has_to_assert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_it.py").write_text("def silent(x):\n    return x\n\n\ndef test_one():\n    silent(1)\n")
    assert main([str(tmp_path)]) == 1
    assert "test_one asserts nothing" in capsys.readouterr().out


def test_it_is_a_part_of_make_lint(tmp_path: Path) -> None:
    lint = (ROOT / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]
    assert "python -m tests.lint.assertions\n" in lint + "\n"
    planted(tmp_path, "looks(3)")
    argv = [sys.executable, "-m", "tests.lint.assertions", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "test_bad asserts nothing" in done.stdout
