# SPDX-License-Identifier: Apache-2.0
"""JSON from outside that is nested deeply is refused before it reaches the end of a thread's stack."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from podwire.agent.server import STACK_BYTES
from podwire.cni.document import DEEPEST, parse
from podwire.cni.errors import CniError


def parsed_by_the_agent(text: str) -> object:
    """What a thread with the stack of the agent's makes of the text."""
    before = threading.stack_size(STACK_BYTES)
    try:
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(parse, text.encode()).result()
    finally:
        threading.stack_size(before)


NESTED = {"arrays": ("[", "]"), "objects": ('{"a":', "}"), "both": ('[{"a":', "}]")}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("levels", [DEEPEST, 5_000, 100_000])
def test_what_is_nested_too_deeply_is_refused(kind: str, levels: int) -> None:
    begin, end = NESTED[kind]
    with pytest.raises(CniError, match="nested too deeply"):
        parsed_by_the_agent('{"x":' + begin * levels + "1" + end * levels + "}")


@pytest.mark.parametrize("kind", ["arrays", "objects"])
def test_as_deep_as_allowed_is_read(kind: str) -> None:
    begin, end = NESTED[kind]
    levels = DEEPEST - 1
    found = parsed_by_the_agent('{"x":' + begin * levels + "1" + end * levels + "}")
    for _ in range(levels + 1):
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]  # type: ignore[index]
    assert found == 1


@pytest.mark.parametrize("text", ["[" * 2000, '\\"' + "{" * 2000, "\\\\", '"[' * 2000], ids=len)
def test_brackets_within_strings_do_not_count(text: str) -> None:
    assert parse(json.dumps({"x": text, "y": "{" * 2000}).encode()) == {"x": text, "y": "{" * 2000}


def test_many_brackets_side_by_side_are_read() -> None:
    wide = {"x": [{"containerID": "a]", "names": []}] * 2000}
    assert parse(json.dumps(wide).encode()) == wide
