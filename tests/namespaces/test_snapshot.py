# SPDX-License-Identifier: Apache-2.0
"""The snapshots that other tests compare: a reading that fails is an error, not an empty state."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.support import snapshot as module
from tests.support.namespace import Host, Namespace
from tests.support.snapshot import SnapshotError, difference, snapshot

STUB = """#!/bin/sh
cat >/dev/null
printf '%s\\n' '{rows}'
echo '{words}' >&2
exit {status}
"""


def stub(folder: Path, monkeypatch: pytest.MonkeyPatch, rows: str, words: str = "", status: int = 0) -> None:
    """An `ip` that answers like this."""
    program = folder / "ip"
    program.write_text(STUB.format(rows=rows, words=words, status=status))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")


def test_each_kind_of_object_is_in_it(host: Host) -> None:
    before = snapshot(host)
    for kind in ("link", "rule 4", "rule 6", "sysctl"):
        assert any(line.startswith(kind) for line in before), kind
    host.ip("link", "add", "a0", "type", "veth", "peer", "name", "b0")
    host.ip("link", "set", "a0", "up")
    host.ip("addr", "add", "192.0.2.1/24", "dev", "a0")
    host.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.2", "table", "7")
    host.ip("rule", "add", "from", "192.0.2.9", "lookup", "7")
    host.ip("neigh", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "a0", "nud", "permanent")
    host.run("nft", "add", "table", "inet", "t")
    host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    came = [line for line in difference(before, snapshot(host)) if line.startswith("+ ")]
    for kind in ("link", "address a0", "route 4", "rule 4", "neighbour 4", "nft", "sysctl"):
        assert [line for line in came if line.startswith(f"+ {kind}")], kind


def test_a_namespace_that_is_gone_has_no_snapshot() -> None:
    gone = Namespace()
    gone.delete()
    with pytest.raises(SnapshotError, match=gone.name):
        snapshot(gone)


@pytest.mark.parametrize(
    ("rows", "words", "status", "match"),
    [
        ("[]\n[]\n[]\n[]\n[]", "RTNETLINK answers: no", 1, "RTNETLINK answers: no"),
        ("[]\n[]\n[]", "", 0, "3 answers"),
        ("[]\n[]\n[]\n[]\n[]", "Dump was interrupted and may be inconsistent.", 0, "interrupted"),
    ],
    ids=["failed", "cut short", "interrupted"],
)
def test_a_reading_that_fails_is_an_error(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, words: str, status: int, match: str
) -> None:
    stub(tmp_path, monkeypatch, rows, words, status)
    with pytest.raises(SnapshotError, match=match):
        snapshot(host)


def test_a_sysctl_that_cannot_be_read_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYSCTLS", ("net.ipv4.no_such_key",))
    with pytest.raises(Exception, match="sysctl"):
        snapshot(host)
