# SPDX-License-Identifier: Apache-2.0
"""`podwire agent`'s and `podwire status`'s command lines: what is refused, in one line, and what is printed."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwire.attachments.read import ShownAttachment
from podwire.cli import status
from podwire.cli.main import main
from podwire.observe.status import AgentState, KnownNode, ShownFailure


@pytest.mark.parametrize(
    "text",
    [
        *("", "19412", ":19412", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"),
        *("localhost:80", "::1:80", "[127.0.0.1]:80", "[::1]", "[::1:80", "127.0.0.1:٣", "127.0.0.1:000080"),
    ],
)
def test_what_is_no_address_and_port_is_refused_in_one_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agent", "--socket", str(tmp_path / "agent.sock"), f"--http={text}"]) == 1
    said = capsys.readouterr().err
    assert f"--http {text}: is not ADDRESS:PORT" in said and len(said.splitlines()) == 1


def test_an_address_that_cannot_be_had_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "podwire.cli.main", "agent", "--socket", str(tmp_path / "s"), "--http", where],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1 and not (tmp_path / "s").exists()
    assert done.stderr == f"podwire: --http {where}: Address already in use: choose another address or port\n"


NODES = [
    KnownNode("worker-with-a-long-name-1", ["192.168.30.10", "fd00::10"], ["10.244.0.0/24"], "0.1.0"),
    KnownNode(
        "worker-with-a-long-name-2", ["192.168.30.11"], ["10.244.1.0/24"], "0.1.0", last_change="changed its address"
    ),
    KnownNode("bad", [], ["10.99.0.0/24"], problem="PodCIDROutsideCluster: podCIDR 10.99.0.0/24 lies outside"),
]
STATE = AgentState(
    version="0.1.0",
    pid=7,
    since="2026-01-01T00:00:00.000Z",
    node="worker-with-a-long-name-1",
    source="https://192.0.2.1:6443",
    ready=False,
    reason="gateway: no",
    silent_seconds=3.2,
    mode="routed",
    cluster_cidrs=["10.244.0.0/16"],
    nodes=NODES,
    problems=[],
    failures=[ShownFailure("kubernetes", "2026-01-01T00:00:01.000Z", "Connection refused")],
    dropped_lines=4,
)
PODS = [
    ShownAttachment(
        ["10.244.0.2", "fd00:10:244::2"], "default/a-pod-with-a-name", "podwire", "0123456789abcdef", "eth0",
        "pw0123456789abc", True, "2026-01-01T00:00:00Z",
    )
]  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int = 0) -> str:
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = status._nodes(STATE, _paths())
    status._print(STATE, "", rows, PODS)
    return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)


def _paths() -> Any:
    from ipaddress import ip_address, ip_network  # noqa: PLC0415

    from podwire.datapath.peer import PeerRoutes  # noqa: PLC0415
    from podwire.netlink.operations import AddRoute  # noqa: PLC0415

    near, orphan = ip_network("10.244.1.0/24"), ip_network("10.244.9.0/24")
    return PeerRoutes(
        routes={
            near: AddRoute("eth0", near, ip_address("192.168.30.11"), replace=True),
            orphan: AddRoute("podwire-vx4", orphan, ip_address("10.244.9.1"), onlink=True, replace=True),
        }
    )


def test_status_says_all_that_is_to_be_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(capsys, monkeypatch)
    for words in (
        "agent 0.1.0 (pid 7) since 2026-01-01T00:00:00.000Z, NOT READY",
        "gateway: no",
        "settings: https://192.0.2.1:6443, last answer 3 s ago",
        "last error (API server) 2026-01-01T00:00:01.000Z: Connection refused",
        "4 lines of the log were dropped",
        "node bad: PodCIDROutsideCluster: podCIDR 10.99.0.0/24 lies outside",
        "node worker-with-a-long-name-2: changed its address",
    ):
        assert words in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["worker-with-a-long-name-1"][1:] == ["*", *NODES[0].addresses, "10.244.0.0/24", "local", "-", "0.1.0"]
    assert rows["worker-with-a-long-name-2"][3:] == ["direct", "192.168.30.11%eth0", "0.1.0"]
    assert rows["bad"] == ["bad", "-", "10.99.0.0/24", "none", "-", "-"]
    assert rows["-"] == ["-", "-", "10.244.9.0/24", "vxlan", "podwire-vx4", "-"], "the kernel's, and nobody's"


@pytest.mark.parametrize("columns", [30, 60, 80])
def test_a_narrow_terminal_folds_and_loses_nothing(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(capsys, monkeypatch, columns)
    assert max(len(line) for line in text.splitlines()) <= columns
    together = "".join(text.split())
    for text in (*NODES[0].addresses, NODES[0].name, "192.168.30.11%eth0", *PODS[0].addresses, PODS[0].pod):
        assert text in together or columns == 80, text
    assert "…" not in together


def test_json_is_for_scripts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "podwire.cli.main", "status", "-o", "json", "--socket", str(tmp_path / "none")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    assert found["agent"] is None and "no agent serves" in found["agent_problem"]
    assert isinstance(found["nodes"], list) and isinstance(found["pods"], list)


def test_the_agents_answer_is_what_status_reads() -> None:
    assert msgspec.json.decode(msgspec.json.encode(STATE), type=AgentState) == STATE
