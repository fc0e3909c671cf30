# SPDX-License-Identifier: Apache-2.0
"""The native shim without an agent that answers: the one-shot path, and what it says without that."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import shim as shims
from tests.support.shim import FakeAgent

CONFIG = b'{"cniVersion": "1.1.0", "name": "net"}'
ONESHOT = """
import json, os, signal, sys
stdin = sys.stdin.buffer.read()
print(json.dumps({
    "argv": sys.argv[1:],
    "cni": {key: value for key, value in os.environ.items() if key.startswith("CNI_")},
    "stdin": [len(stdin), stdin[:64].decode(), stdin[-8:].decode()],
    "alarm": signal.getitimer(signal.ITIMER_REAL)[0],
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
}))
sys.exit(7)
"""


@pytest.fixture(scope="module", params=shims.BUILDS)
def shim(request: pytest.FixtureRequest) -> Iterator[Path]:
    yield shims.build(request.param)


@pytest.fixture(scope="module", autouse=True)
def _builds() -> Iterator[None]:
    yield
    shims.remove_builds()


@pytest.fixture
def stamped(shim: Path, tmp_path: Path) -> Path:
    """The shim with a one-shot path that tells how it was started, and exits with 7."""
    script = tmp_path / "oneshot script.py"
    script.write_text(ONESHOT)
    return shims.stamped(shim, tmp_path / "podwire", [sys.executable, "-I", "-S", str(script), "an argument"])


def _no_socket(folder: Path) -> str:
    return str(folder / "agent.sock")


def _stale_socket(folder: Path) -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "agent.sock"))
    return str(folder / "agent.sock")


def _path_too_long(folder: Path) -> str:
    return str(folder / ("x" * 200))


@pytest.mark.parametrize("path", [_no_socket, _stale_socket, _path_too_long])
def test_no_agent(stamped: Path, tmp_path: Path, path: Callable[[Path], str]) -> None:
    environment = {"PODWIRE_SOCKET": path(tmp_path), "CNI_COMMAND": "ADD", "CNI_NETNS": "/", "CNI_ARGS": "A=1"}
    done = shims.run(stamped, environment, CONFIG)
    told = json.loads(done.stdout)
    assert done.returncode == 7
    assert told["argv"] == ["an argument"]
    assert told["cni"] == {"CNI_COMMAND": "ADD", "CNI_NETNS": "/", "CNI_ARGS": "A=1"}
    assert told["stdin"] == [len(CONFIG), CONFIG.decode(), CONFIG[-8:].decode()]
    assert told["alarm"] == 0
    assert told["fds"] == [0, 1, 2, 3]  # 3 lists the folder itself: nothing of the shim's is left open


@pytest.mark.parametrize("size", [0, shims.MESSAGE_BYTES, shims.INPUT_BYTES_MAX])
def test_oneshot_reads_the_whole_input(stamped: Path, tmp_path: Path, size: int) -> None:
    stdin = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    done = shims.run(stamped, {"PODWIRE_SOCKET": _no_socket(tmp_path), "CNI_COMMAND": "ADD"}, stdin)
    assert json.loads(done.stdout)["stdin"] == [size, stdin[:64].decode(), stdin[-8:].decode()]


def test_closed_input_is_an_empty_one(stamped: Path, tmp_path: Path) -> None:
    environment = {"PODWIRE_SOCKET": _no_socket(tmp_path), "CNI_COMMAND": "ADD"}
    done = shims.run(stamped, environment, wrapper=["sh", "-c", 'exec "$0" <&-'])
    assert json.loads(done.stdout)["stdin"] == [0, "", ""]


def test_environment_larger_than_a_message(stamped: Path, tmp_path: Path) -> None:
    arguments = "A=" + "x" * shims.MESSAGE_BYTES
    with FakeAgent(tmp_path, lambda _: None) as agent:
        environment = agent.environment | {"CNI_COMMAND": "ADD", "CNI_ARGS": arguments}
        done = shims.run(stamped, environment, CONFIG)
    assert agent.requests == []
    told = json.loads(done.stdout)
    assert told["cni"]["CNI_ARGS"] == arguments and told["stdin"][1] == CONFIG.decode()


RUBBISH: dict[str, Callable[[socket.socket], Any]] = {
    "nothing": lambda connection: None,
    "half a header": lambda connection: connection.send(b"PWA1\0\0"),
    "other magic": lambda connection: connection.send(shims.HEADER.pack(b"HTTP", 0, 0, 0)),
    "body shorter than told": lambda connection: connection.send(shims.HEADER.pack(b"PWA1", 0, 0, 9) + b"x"),
    "body longer than told": lambda connection: connection.send(shims.HEADER.pack(b"PWA1", 0, 0, 1) + b"xyz"),
    "too large": lambda connection: connection.send(shims.reply(b"x" * (shims.MESSAGE_BYTES + 1))),
    "no memfd": lambda connection: connection.send(shims.HEADER.pack(b"PWA1", shims.REPLY_BODY_MEMFD, 0, 9)),
    "memfd too small": lambda connection: shims.send_memfd_reply(connection, b"x", claimed_bytes=2),
}


@pytest.mark.parametrize("rubbish", RUBBISH)
@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_agent_that_ends_or_talks_rubbish(stamped: Path, tmp_path: Path, verb: str, rubbish: str) -> None:
    """How far the agent came is unknown. ADD must not run twice at once; DEL may."""
    with FakeAgent(tmp_path, RUBBISH[rubbish]) as agent:
        done = shims.run(stamped, agent.environment | {"CNI_COMMAND": verb}, CONFIG)
    assert len(agent.requests) == 1
    told = json.loads(done.stdout)
    if verb == "ADD":
        assert (done.returncode, told["code"]) == (1, 11)
        assert told["msg"] == "the podwire agent ended during ADD: the runtime tries again"
    else:
        assert (done.returncode, told["stdin"][1]) == (7, CONFIG.decode())


@pytest.mark.parametrize("verb", ["CHECK", "GC", "STATUS", "VERSION"])
def test_agent_that_ends_during_a_repeatable_verb(stamped: Path, tmp_path: Path, verb: str) -> None:
    with FakeAgent(tmp_path, RUBBISH["nothing"]) as agent:
        done = shims.run(stamped, agent.environment | {"CNI_COMMAND": verb}, CONFIG)
    assert (done.returncode, json.loads(done.stdout)["cni"]["CNI_COMMAND"]) == (7, verb)


@pytest.fixture(params=["no stamp", "stamp without a file"])
def alone(request: pytest.FixtureRequest, shim: Path, tmp_path: Path) -> Path:
    """A shim that nobody stands behind."""
    if request.param == "no stamp":
        return shim
    return shims.stamped(shim, tmp_path / "podwire", ["/nonexistent/python", "oneshot.py"])


@pytest.mark.parametrize(
    ("verb", "code"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50), ("RUN", 4), ("add", 4)]
)
def test_nobody_there(alone: Path, tmp_path: Path, verb: str, code: int) -> None:
    environment = {"PODWIRE_SOCKET": _no_socket(tmp_path), "CNI_COMMAND": verb, "CNI_NETNS": "/"}
    done = shims.run(alone, environment, CONFIG)
    error = json.loads(done.stdout)
    assert (done.returncode, error["code"], done.stderr) == (1, code, b"")
    assert set(error) == {"cniVersion", "code", "msg", "details"}
    assert "\n" not in error["msg"] and 0 < len(error["msg"]) < 500


def test_nobody_there_version(alone: Path, tmp_path: Path) -> None:
    environment = {"PODWIRE_SOCKET": _no_socket(tmp_path), "CNI_COMMAND": "VERSION"}
    done = shims.run(alone, environment, b"rubbish")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "cniVersion": "1.1.0",
        "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


@pytest.mark.parametrize("netns", ["", "/nonexistent/netns", "/", "/dev/null", "/proc/self/ns/mnt"])
def test_nobody_there_delete_without_a_namespace(alone: Path, tmp_path: Path, netns: str) -> None:
    environment = {"PODWIRE_SOCKET": _no_socket(tmp_path), "CNI_COMMAND": "DEL", "CNI_NETNS": netns}
    done = shims.run(alone, environment | {"CNI_IFNAME": "eth0"}, CONFIG)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
