# SPDX-License-Identifier: Apache-2.0
"""The native shim against an agent written here: what it hands over, what it prints, how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import shim as shims
from tests.support.shim import FakeAgent, reply

VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
CONFIG = b'{"cniVersion": "1.1.0", "name": "net"}'
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module", params=shims.BUILDS)
def shim(request: pytest.FixtureRequest) -> Iterator[Path]:
    yield shims.build(request.param)


@pytest.fixture(scope="module", autouse=True)
def _builds() -> Iterator[None]:
    yield
    shims.remove_builds()


def succeed(connection: socket.socket) -> None:
    connection.send(reply(b'{"cniVersion":"1.1.0"}'))


def stay_silent(connection: socket.socket) -> None:
    connection.recv(1)  # returns when the shim has gone


def test_request_holds_cni_environment_stdin_and_netns(shim: Path, tmp_path: Path) -> None:
    environment = {
        b"CNI_COMMAND": b"ADD",
        b"CNI_NETNS": b"/proc/self/ns/net",
        b"CNI_ARGS": b"A=1;B=\xff",
        b"CNI_PATH": b"",
        b"UNRELATED": b"1",
        b"XCNI_COMMAND": b"DEL",
    }
    with FakeAgent(tmp_path, succeed) as agent:
        done = shims.run(shim, environment | {b"PODWIRE_SOCKET": bytes(agent.path)}, CONFIG)
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"cniVersion":"1.1.0"}', b"")
    (request,) = agent.requests
    expected = {key + b"=" + value for key, value in environment.items() if key.startswith(b"CNI_")}
    assert set(request.environment) == expected and len(request.environment) == len(expected)
    assert request.stdin == CONFIG
    assert request.netns_inode == Path("/proc/self/ns/net").stat().st_ino


@pytest.mark.parametrize("netns", [None, "", "/nonexistent/netns"])
def test_request_without_a_netns_to_open(shim: Path, tmp_path: Path, netns: str | None) -> None:
    with FakeAgent(tmp_path, succeed) as agent:
        variables = {"CNI_COMMAND": "DEL"} | ({} if netns is None else {"CNI_NETNS": netns})
        done = shims.run(shim, agent.environment | variables, CONFIG)
    assert done.returncode == 0
    assert agent.requests[0].netns_inode is None and agent.requests[0].flags == 0


@pytest.mark.parametrize(
    "size", [0, 1, 65_000, shims.MESSAGE_BYTES - 64, shims.MESSAGE_BYTES, MEBIBYTE, shims.INPUT_BYTES_MAX]
)
def test_standard_input_arrives_whole(shim: Path, tmp_path: Path, size: int) -> None:
    stdin = (b"0123456789abcde\n" * (size // 16 + 1))[:size]
    with FakeAgent(tmp_path, succeed) as agent:
        done = shims.run(shim, agent.environment | {"CNI_COMMAND": "ADD", "CNI_NETNS": "/"}, stdin)
    assert done.returncode == 0
    assert agent.requests[0].stdin == stdin
    assert agent.requests[0].flags & shims.REQUEST_NETNS


def test_input_beyond_the_limit_is_refused_without_the_agent(shim: Path, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, succeed) as agent:
        done = shims.run(shim, agent.environment | {"CNI_COMMAND": "ADD"}, b" " * (shims.INPUT_BYTES_MAX + 1))
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 6)
    assert "32 MiB" in json.loads(done.stdout)["msg"]
    assert agent.requests == []


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_status_and_body_are_the_agents(shim: Path, tmp_path: Path, status: int) -> None:
    with FakeAgent(tmp_path, lambda connection: connection.send(reply(b'{"code": 7}', status))) as agent:
        done = shims.run(shim, agent.environment | {"CNI_COMMAND": "CHECK"}, CONFIG)
    assert (done.returncode, done.stdout, done.stderr) == (status, b'{"code": 7}', b"")


def test_a_status_that_no_process_can_have_is_a_failure(shim: Path, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, lambda connection: connection.send(reply(b"{}", 256))) as agent:
        assert shims.run(shim, agent.environment | {"CNI_COMMAND": "CHECK"}, CONFIG).returncode == 1


def test_body_for_standard_error(shim: Path, tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.send(reply(b"about", 0, shims.REPLY_TO_STDERR))

    with FakeAgent(tmp_path, answer) as agent:
        done = shims.run(shim, agent.environment | {"CNI_COMMAND": "VERSION"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"about")


@pytest.mark.parametrize("size", [0, 1, shims.MESSAGE_BYTES])
def test_inline_body_of_any_size(shim: Path, tmp_path: Path, size: int) -> None:
    body = b"x" * size
    with FakeAgent(tmp_path, lambda connection: connection.send(reply(body))) as agent:
        assert shims.run(shim, agent.environment | {"CNI_COMMAND": "ADD"}, CONFIG).stdout == body


def test_large_body_through_a_memfd_to_a_slow_reader(shim: Path, tmp_path: Path) -> None:
    body = b"0123456789abcde\n" * (5 * MEBIBYTE // 16) + b"end"
    with FakeAgent(tmp_path, lambda connection: shims.send_memfd_reply(connection, body)) as agent:
        process = subprocess.Popen(
            [shim],
            env=shims.SANITIZED_ENVIRONMENT | agent.environment | {"CNI_COMMAND": "ADD"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            output = process.stdout.fileno()
            received = b"".join(iter(lambda: os.read(output, 777), b""))
    assert (process.returncode, received) == (0, body)


@pytest.mark.parametrize("flags", [os.O_NONBLOCK, 0])
def test_pipes_that_are_not_ready(shim: Path, tmp_path: Path, flags: int) -> None:
    """Standard input comes late and in pieces, standard output is a full pipe; both perhaps O_NONBLOCK."""
    body = b"y" * MEBIBYTE
    input_read, input_write = os.pipe2(os.O_CLOEXEC | flags)
    output_read, output_write = os.pipe2(os.O_CLOEXEC | flags)
    os.set_blocking(output_read, True)
    with FakeAgent(tmp_path, lambda connection: shims.send_memfd_reply(connection, body)) as agent:
        process = subprocess.Popen(
            [shim],
            env=shims.SANITIZED_ENVIRONMENT | agent.environment | {"CNI_COMMAND": "ADD"},
            stdin=input_read,
            stdout=output_write,
        )
        os.close(input_read)
        os.close(output_write)
        for piece in (CONFIG[:10], CONFIG[10:20], CONFIG[20:]):
            os.write(input_write, piece)
        os.close(input_write)
        with os.fdopen(output_read, "rb") as output:
            received = output.read()
        assert (process.wait(shims.TIMEOUT_SECONDS), received) == (0, body)
    assert agent.requests[0].stdin == CONFIG


def test_closed_standard_input_is_an_empty_one(shim: Path, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, succeed) as agent:
        done = shims.run(
            shim,
            agent.environment | {"CNI_COMMAND": "ADD", "CNI_NETNS": "/proc/self/ns/net"},
            wrapper=["sh", "-c", 'exec "$0" <&-'],
        )
    assert done.returncode == 0
    assert agent.requests[0].stdin == b"" and agent.requests[0].netns_inode is not None


def test_success_that_nobody_can_read_is_a_failure(shim: Path, tmp_path: Path) -> None:
    with FakeAgent(tmp_path, succeed) as agent:
        environment = agent.environment | {"CNI_COMMAND": "ADD"}
        closed = shims.run(shim, environment, CONFIG, wrapper=["sh", "-c", 'exec "$0" >&-'])
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            widowed = shims.run(shim, environment, CONFIG, stdout=write_end)
        finally:
            os.close(write_end)
    assert (closed.returncode, widowed.returncode) == (1, 1)


@pytest.mark.parametrize("environment", [{}, {"CNI_COMMAND": ""}])
def test_about_text_without_a_command(shim: Path, environment: dict[str, str]) -> None:
    read_end, write_end = os.pipe()  # standard input stays open: it must not be waited for
    try:
        done = shims.run(shim, environment, stdin=read_end)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert (done.returncode, done.stdout) == (0, b"")
    assert all(version in done.stderr.decode() for version in VERSIONS)


DEADLINE = {"PODWIRE_DEADLINE_MS": "200"}


@pytest.mark.parametrize(
    ("verb", "code"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50), ("VERSION", 11), ("OTHER", 11)]
)
def test_silent_agent(shim: Path, tmp_path: Path, verb: str, code: int) -> None:
    with FakeAgent(tmp_path, stay_silent) as agent:
        done = shims.run(shim, agent.environment | DEADLINE | {"CNI_COMMAND": verb}, CONFIG)
    assert (done.returncode, json.loads(done.stdout)["code"], done.stderr) == (1, code, b"")
    assert len(agent.requests) == 1


def test_silent_agent_though_the_parent_blocks_every_signal(shim: Path, tmp_path: Path) -> None:
    blocked = ["env", "--block-signal", "--ignore-signal=PIPE"]
    with FakeAgent(tmp_path, stay_silent) as agent:
        environment = agent.environment | DEADLINE | {"CNI_COMMAND": "ADD"}
        done = shims.run(shim, environment, CONFIG, wrapper=blocked)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 11)


def test_agent_that_does_not_even_accept(shim: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "agent.sock"))
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        for each in waiting:  # until the backlog is full, so that the shim blocks in connect()
            each.setblocking(False)
            each.connect_ex(str(tmp_path / "agent.sock"))
        environment = {"PODWIRE_SOCKET": str(tmp_path / "agent.sock"), "CNI_COMMAND": "STATUS"}
        done = shims.run(shim, environment | DEADLINE, CONFIG)
        for each in waiting:
            each.close()
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 50)


def test_standard_input_that_never_ends(shim: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        with FakeAgent(tmp_path, succeed) as agent:
            environment = agent.environment | DEADLINE | {"CNI_COMMAND": "ADD"}
            done = shims.run(shim, environment, stdin=read_end)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, 11)
    assert "standard input" in json.loads(done.stdout)["msg"]
    assert agent.requests == []
