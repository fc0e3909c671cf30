# SPDX-License-Identifier: Apache-2.0
"""Fuzzing: whatever stdin, CNI_ARGS and environment hold, the answer is conformant and a refusal changes nothing.

PODWIRE_FUZZ_EXAMPLES sets how many inputs each test tries (default 60, about a minute in all).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.conformance.node import Node, encoded
from tests.conformance.rules import response_complaints
from tests.conformance.subject import podwire_cell
from tests.support.agent import Agent
from tests.support.namespace import Host
from tests.support.plugin import Outcome, Plugin
from tests.support.snapshot import difference, snapshot

EXAMPLES = int(os.environ.get("PODWIRE_FUZZ_EXAMPLES", "60"))
COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")

pytestmark = pytest.mark.podwire_decision

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
slowly = settings(fuzzed, max_examples=max(EXAMPLES // 4, 5))

FULL_CONFIG: dict[str, Any] = {
    "cniVersion": "1.1.0",
    "name": "pwnet",
    "type": "podwire",
    "mode": "routed",
    "bridge": "cni0",
    "network": "10.22.0.0/16",
    "subnet": "10.22.0.0/24,fd00:22::/64",
    "gateway": "10.22.0.1",
    "mtu": 1400,
    "mac": "02:00:00:00:00:01",
    "hairpinMode": True,
    "promiscMode": False,
    "ipMasq": True,
    "isGateway": True,
    "isDefaultGateway": True,
    "ranges": [[{"subnet": "10.23.0.0/24", "rangeStart": "10.23.0.5", "rangeEnd": "10.23.0.9"}]],
    "routes": [{"dst": "198.51.100.0/24", "gw": "10.22.0.1"}],
    "dns": {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["example.org"], "options": ["ndots:5"]},
    "runtimeConfig": {"ips": ["10.22.0.9"], "mac": "02:00:00:00:00:02", "ipRanges": [[{"subnet": "10.22.0.0/24"}]]},
    "args": {"cni": {"ips": ["10.22.0.8"], "mac": "02:00:00:00:00:03"}},
    "ipam": {"type": ""},
    "capabilities": {"ips": True},
    "prevResult": {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "x0", "mac": "02:00:00:00:00:04", "sandbox": "/x"}],
        "ips": [{"address": "192.0.2.5/24", "interface": 0, "gateway": "192.0.2.1"}],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dns": {},
    },
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
}
_any_text = st.text(st.characters(), max_size=30)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=True),
    _any_text,
    st.sampled_from(
        [
            "",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/31",
            "fd00::/127",
            "255.255.255.255",
            "::ffff:10.0.0.1",
            "%n",
            "\u0000",
            "\ud800",
            10**400,
            -1,
            2**64,
            "../../etc/passwd",
            "a" * 5000,
            "10.22.0.1/24",
            "ff02::1",
            "127.0.0.1",
            "0" * 300,
        ]
    ),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_any_text, inner, max_size=3)),
    max_leaves=8,
)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*here, key)
        yield from _paths(each, (*here, key))


PATHS = sorted(_paths(FULL_CONFIG), key=str)


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = _replaced(copied[path[0]], path[1:], new)
    return copied


@pytest.fixture(scope="module")
def ground(bin_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node with an agent for all the inputs of this module."""
    with Host() as host, Agent(host) as agent:
        plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})
        made = Node(host, plugin, podwire_cell(True, "routed", "dual"), tmp_path_factory.mktemp("fuzz"), agent)
        made.silent(made.delete(made.added()))
        yield made
        assert agent.process.poll() is None, "the agent has ended"
        made.close()


def _alone(node: Node) -> Node:
    """The same node without its agent."""
    plugin = Plugin(node.plugin.binary, node.host, environment={"PODWIRE_SOCKET": str(node.folder / "none.sock")})
    return Node(node.host, plugin, node.subject, node.folder)


def _holds(node: Node, command: str, variables: dict[Any, Any], stdin: bytes) -> Outcome:
    """Run one command in a fresh pod and assert the property; undo what a success made."""
    pod = node.pod()
    try:
        before = snapshot(node.host), snapshot(pod)
        whole = {**node.plugin.variables(command, "c1", pod.path, "eth0"), **variables}
        outcome = node.plugin.run(whole, stdin)
        complaints = response_complaints(outcome, command)
        assert not complaints, f"{complaints}\n{outcome}"
        if outcome.status:
            changes = difference(before[0], snapshot(node.host)) + difference(before[1], snapshot(pod))
            assert not changes, f"{changes}\n{outcome}"
        return outcome
    finally:
        pod.delete()
        node.plugin.cni_gc(node.config(**{"cni.dev/valid-attachments": []}))


def _bytes(config: Any) -> bytes:
    return json.dumps(config).encode("utf-8", "surrogatepass")


@pytest.mark.line("fuzz", 11, 28)
@fuzzed
@given(stdin=st.binary(max_size=300), command=st.sampled_from(COMMANDS))
def test_random_bytes(ground: Node, stdin: bytes, command: str) -> None:
    """Random bytes on standard input."""
    _holds(ground, command, {}, stdin)


@pytest.mark.line("fuzz", 11, 28)
@fuzzed
@given(document=_values, command=st.sampled_from(COMMANDS))
def test_random_json(ground: Node, document: Any, command: str) -> None:
    """Random JSON on standard input, also as extra keys of a good configuration."""
    _holds(ground, command, {}, _bytes(document))
    if isinstance(document, dict):
        _holds(ground, command, {}, _bytes({**document, **ground.config()}))


@pytest.mark.line("fuzz", 11, 14, 28, 29)
@settings(fuzzed, max_examples=3 * EXAMPLES)
@given(path=st.sampled_from(PATHS), value=_values, command=st.sampled_from(("ADD", "ADD", "ADD", *COMMANDS)))
def test_wrong_values_at_each_key(ground: Node, path: tuple[Any, ...], value: Any, command: str) -> None:
    """Anything at all in the place of each key of a full configuration, at every level."""
    _holds(ground, command, {}, _bytes(_replaced(FULL_CONFIG, path, value)))


@pytest.mark.line("fuzz", 11, 28)
@fuzzed
@given(data=st.data(), command=st.sampled_from(COMMANDS))
def test_damaged_configurations(ground: Node, data: st.DataObject, command: str) -> None:
    """A good configuration with bytes cut out, put in, or changed."""
    good = encoded(data.draw(st.sampled_from([FULL_CONFIG, ground.config()])))
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(len(good), start + 12)))
    _holds(ground, command, {}, good[:start] + data.draw(st.binary(max_size=6)) + good[end:])


@pytest.mark.line("fuzz", 11)
@pytest.mark.parametrize("depth", [10, 100, 500, 1000, 5000, 100_000, 1_000_000])
@pytest.mark.parametrize("kind", ["[]", "{}"])
def test_depths(ground: Node, depth: int, kind: str) -> None:
    """Nesting of every depth, in an unknown key and in a known one, with and without agent."""
    start, end = ("[", "]") if kind == "[]" else ('{"a":', "}")
    nest = start * depth + "1" + end * depth
    for key in ("unknown", "args"):
        for node in (ground, _alone(ground)):
            _holds(node, "ADD", {}, encoded(ground.config())[:-1] + f', "{key}": {nest}}}'.encode())


_environment_bytes = st.one_of(
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\x00", b"")),
    _any_text.map(lambda text: text.encode("utf-8", "surrogatepass").replace(b"\x00", b"")),
    st.sampled_from(
        [
            b"\n",
            b"eth0\n",
            b"\xff\xfe",
            "ünïcode\u2028".encode(),
            b"x" * 100_000,
            b"..",
            b"/",
            b"%s%n",
            b"eth%d",
            b"-rf",
            b"$(reboot)",
            b"/proc/self/ns/net",
            b"/proc/1/ns/net",
            b"/dev/zero",
            b"/run/netns",
            b"\x1b[2J",
        ]
    ),
)


@pytest.mark.line("fuzz", 3, 5, 6)
@fuzzed
@given(
    name=st.sampled_from(
        ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH", "CNI_COMMAND", "CNI_NETNS_OVERRIDE"]
    ),
    value=_environment_bytes,
    command=st.sampled_from(COMMANDS),
)
def test_environment(ground: Node, name: str, value: bytes, command: str) -> None:
    """Bytes, newlines, Unicode, lengths in each variable."""
    asked = os.fsdecode(value) if name == "CNI_COMMAND" else command
    assume(asked)  # without a command podwire prints what it is, in words
    _holds(ground, asked, {name: value}, encoded(ground.config()))


_arguments = st.lists(
    st.tuples(
        st.sampled_from(
            [b"IP", b"MAC", b"K8S_POD_NAME", b"K8S_POD_NAMESPACE", b"IgnoreUnknown", b"", b"ip", b"GATEWAY", b"\xff"]
        ),
        st.sampled_from([b"=", b"", b"==", b" = "]),
        _environment_bytes.map(lambda raw: raw[:300]),
    ),
    max_size=5,
)


@pytest.mark.line("fuzz", 9)
@fuzzed
@given(parts=_arguments, command=st.sampled_from(("ADD", "DEL")))
def test_arguments(ground: Node, parts: list[tuple[bytes, bytes, bytes]], command: str) -> None:
    """CNI_ARGS made of known keys and anything."""
    text = b";".join(b"".join(part) for part in parts)
    _holds(ground, command, {"CNI_ARGS": text}, encoded(ground.config()))


@pytest.mark.line("fuzz")
@slowly
@given(path=st.sampled_from(PATHS), value=_values, arguments=_environment_bytes)
def test_without_the_agent(ground: Node, path: tuple[Any, ...], value: Any, arguments: bytes) -> None:
    """The same for the one-shot path."""
    _holds(_alone(ground), "ADD", {"CNI_ARGS": arguments[:300]}, _bytes(_replaced(FULL_CONFIG, path, value)))
