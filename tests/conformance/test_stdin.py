# SPDX-License-Identifier: Apache-2.0
"""Lines 11 to 14: what is read from standard input, what is refused, what is tolerated."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.node import Node, encoded
from tests.conformance.rules import VERSIONS, error_complaints
from tests.conformance.subject import ABSENT
from tests.support.plugin import SEARCH_PATH, Outcome

MIB = 1024 * 1024
STDIN_LIMIT_BYTES = 32 * MIB

BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "blank": lambda good: b" \n",
    "brace": lambda good: b"{",
    "truncated": lambda good: good[:-1],
    "array": lambda good: b"[" + good + b"]",
    "null": lambda good: b"null",
    "number": lambda good: b"3",
    "string": lambda good: b'"x"',
    "trailing": lambda good: good + b"x",
    "two documents": lambda good: good + good,
    "NaN": lambda good: good[:-1] + b', "x": NaN}',
    "Infinity": lambda good: good[:-1] + b', "x": -Infinity}',
    "BOM": lambda good: b"\xef\xbb\xbf" + good,
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-16-LE": lambda good: good.decode().encode("utf-16-le"),
    "depth": lambda good: good[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "object depth": lambda good: good[:-1] + b', "x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "single quotes": lambda good: good.replace(b'"', b"'"),
    "trailing comma": lambda good: good[:-1] + b",}",
    "comment": lambda good: good + b" // x",
    "control character": lambda good: good[:-1] + b', "x": "a\nb"}',
    "name number": lambda good: encoded({**json.loads(good), "name": 3}),
    "name list": lambda good: encoded({**json.loads(good), "name": ["a"]}),
    "cniVersion number": lambda good: encoded({**json.loads(good), "cniVersion": 1.0}),
    "cniVersion object": lambda good: encoded({**json.loads(good), "cniVersion": {}}),
}
TOLERATED = {
    "unknown key": b'"unknownKey": {"a": [1, 2.5e3, null, true]}',
    "duplicate key": b'"note": 1, "note": 2',
    "invalid UTF-8": b'"note": "\xff\xfe\xc3("',
    "lone surrogate": rb'"note": "\ud800", "other": "\udc00\ud800"',
    "surrogate pair": rb'"note": "\ud83d\ude00"',
    "escaped nul": rb'"note": "a\u0000b"',
    "long integer": b'"note": ' + b"9" * 6000,
    "long fraction": b'"note": 1e999999',
    "nesting": b'"note": ' + b"[" * 200 + b"]" * 200,
    "empty key": b'"": 1',
    "8 MiB": b'"note": "' + b"x" * (8 * MIB) + b'"',
    "many keys": b",".join(b'"k%d": %d' % (n, n) for n in range(50_000)),
    "labels": b'"capabilities": {"portMappings": true}, "args": {"labels": [{"a": "b"}]}',
}


def _with(config: dict[str, Any], text: bytes) -> bytes:
    return encoded(config)[:-1] + b", " + text + b"}"


@pytest.mark.line(11, "trap 3")
@pytest.mark.parametrize("kind", BROKEN)
def test_not_a_configuration(node: Node, kind: str) -> None:
    """Line 11: what is not one JSON object in UTF-8 with a right-typed name and version is code 6."""
    stdin = BROKEN[kind](encoded(node.config()))
    pod = node.pod()
    with node.unchanged(pod):
        first = node.plugin.cni_add(stdin, "c1", pod.path)
        node.refused(first, 6)
        for command in ("DEL", "CHECK", "GC", "STATUS") if node.subject.with_agent else ("DEL",):
            node.refused(node.plugin.call(command, stdin, "c1", pod.path, ifname="eth0"), 6)
        again = node.plugin.cni_add(stdin, "c1", pod.path)
        assert first.stdout == again.stdout, "the same message at every retry"


@pytest.mark.cells("text")
@pytest.mark.line(11)
@pytest.mark.parametrize("name", [ABSENT, "", None], ids=["absent", "empty", "null"])
def test_missing_name(node: Node, name: Any) -> None:
    """Line 11: a missing name is code 7."""
    pod = node.pod()
    with node.unchanged(pod):
        assert "name" in node.refused(node.plugin.cni_add(node.config(name=name), "c1", pod.path), 7)


@pytest.mark.line(11)
def test_closed_standard_input(node: Node) -> None:
    """Line 11: a closed descriptor 0 is an empty input."""
    argv = node.host.argv("sh", "-c", 'exec "$0" <&-', str(node.plugin.binary))
    environment = {
        "PATH": SEARCH_PATH,
        **node.plugin.environment,
        **node.plugin.variables("ADD", "c1", node.pod().path, "eth0"),
    }
    done = subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=60)
    outcome = Outcome(done.returncode, done.stdout, done.stderr, 0.0)
    assert not error_complaints(outcome, node.subject.is_podwire), outcome
    assert outcome.code == 6


@pytest.mark.line(12, 14, "trap 3")
@pytest.mark.parametrize("kind", TOLERATED)
def test_tolerated(node: Node, kind: str) -> None:
    """Lines 12 and 14: odd content in places that we don't read does no harm."""
    pod = node.pod()
    stdin = _with(node.config(), TOLERATED[kind])
    outcome = node.plugin.cni_add(stdin, "c1", pod.path)
    assert outcome.ok, outcome
    assert "eth0" in pod.links()
    node.silent(node.plugin.cni_del(stdin, "c1", pod.path))
    assert "eth0" not in pod.links()


@pytest.mark.line(12)
def test_duplicate_keys_last_wins(node: Node) -> None:
    """Line 12: of two keys of one name the last one counts."""
    pod = node.pod()
    body = encoded(node.config(name=ABSENT))[1:]
    assert node.plugin.cni_add(b'{"name": "-bad-", "name": "good", ' + body, "c1", pod.path).ok
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(b'{"name": "good", "name": "-bad-", ' + body, "c2", pod.path, "eth1"), 7)


@pytest.mark.line(14)
def test_unknown_keys_at_every_level(node: Node) -> None:
    """Line 14: unknown keys are ignored, wherever they stand."""
    config = node.config(dns={"unknown": 1}, runtimeConfig={"unknown": {"a": 1}}, args={"cni": {"x": 1}, "y": 2})
    config["ipam"] = {**config.get("ipam", {}), "unknown": [1]}
    node.added(config)


@pytest.mark.line(12)
@pytest.mark.podwire_decision
def test_standard_input_of_32_mib(node: Node) -> None:
    """Line 12: 32 MiB of standard input work; one byte more is a clean code 6."""
    pod = node.pod()
    start = encoded(node.config())[:-1] + b', "x": "'
    whole = start + b"x" * (STDIN_LIMIT_BYTES - len(start) - 2) + b'"}'
    assert len(whole) == STDIN_LIMIT_BYTES
    outcome = node.plugin.cni_add(whole, "c1", pod.path)
    assert outcome.ok, outcome
    node.silent(node.plugin.cni_del(whole, "c1", pod.path))
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(whole[:-2] + b'x"}', "c1", pod.path), 6)


@pytest.mark.line(12)
def test_standard_input_in_pieces(node: Node) -> None:
    """Line 12: input that arrives byte by byte is one input."""
    pod = node.pod()
    environment = {
        "PATH": SEARCH_PATH,
        **node.plugin.environment,
        **node.plugin.variables("ADD", "c1", pod.path, "eth0"),
    }
    process = subprocess.Popen(
        node.host.argv(str(node.plugin.binary)),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    for byte in encoded(node.config()):
        os.write(process.stdin.fileno(), bytes([byte]))
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, (stdout, stderr)


@pytest.mark.line(13)
@pytest.mark.parametrize("version", [ABSENT, ""], ids=["absent", "empty"])
def test_version_defaults_to_the_first(node: Node, version: Any) -> None:
    """Line 13: no cniVersion, or an empty one, means 0.1.0; the result has that shape."""
    attachment = node.added(node.config(cniVersion=version))
    assert attachment.result["cniVersion"] == "0.1.0"
    assert "ip4" in attachment.result or "ip6" in attachment.result


@pytest.mark.cells("text")
@pytest.mark.line(13)
@pytest.mark.parametrize(
    "version", ["9.9.9", "1.2.0", "0.5.0", "1.0", "banana", "01.0.0", "1.0.0\n", " 1.0.0", "v1.0.0"]
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_unsupported_version(node: Node, command: str, version: str) -> None:
    """Line 13: code 1, and the details say which versions are supported."""
    pod = node.pod()
    with node.unchanged(pod):
        outcome = node.plugin.call(command, node.config(cniVersion=version), "c1", pod.path, ifname="eth0")
        node.refused(outcome, 1)
        assert all(each in outcome.document.get("details", "") for each in VERSIONS), outcome
