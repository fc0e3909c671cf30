# SPDX-License-Identifier: Apache-2.0
"""A root file system is entered in namespaces of its own, and nothing of it is left, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire_lab import cgroup
from podwire_lab.lab_host import LabHost
from tests.fresh import entry
from tests.fresh.bare import BASE_ENVIRONMENT
from tests.support.namespace import wait_until

NAME = f"pwt-{os.getpid()}"
SLEEP = f"1{os.getpid()}".encode()  # a time in seconds that no other process sleeps
FOLDERS = ("bin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "run", "tmp", "etc")
APPLETS = ("usr/bin/env", "bin/sh", "bin/umount", "bin/rmdir", "bin/mount", "bin/mkdir", "bin/sleep", "bin/hostname")


def set_up_root_filesystem(root: Path) -> None:
    """A root of busybox alone, whose bash is a shell of busybox."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for applet in APPLETS:
        (root / applet).symlink_to("/bin/busybox")
    (root / "bin/bash").write_text('#!/bin/sh\nexec /bin/sh "$@"\n')
    (root / "bin/bash").chmod(0o755)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the tree is; should the tests fail, it goes all the same."""
    yield tmp_path / "fresh"
    entry.remove(tmp_path / "fresh", NAME)


def left(folder: Path) -> list[str]:
    """What is there of a tree: its folder, its control groups, mounts of it on the machine."""
    mounted = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    groups = [str(host) for host in cgroup.read_hosts() if host == LabHost(entry.LAB, NAME)]
    return [*([str(folder)] if folder.exists() else []), *groups, *mounted]


def test_it_has_processes_names_and_files_of_its_own(folder: Path) -> None:
    script = """
    [ $$ = 1 ]
    [ "$(hostname)" = NAME ]
    [ "$(cat /proc/1/cgroup | grep -v :/$ )" = "" ]
    [ "$(echo /run/*)" = /run/lock ]
    [ ! -e /.machine ]
    [ -z "${PYTEST_CURRENT_TEST:-}" ]
    echo seen >/cache/file
    exit 7
    """.replace("NAME", NAME)
    cache = folder.parent / "cache"
    with entry.removed(folder, NAME) as made:
        set_up_root_filesystem(made / "root")
        for applet in ("bin/cat", "bin/grep"):
            (made / "root" / applet).symlink_to("/bin/busybox")
        caches = {cache: Path("/cache")}
        assert entry.run(made / "root", NAME, script, environment=BASE_ENVIRONMENT, caches=caches) == 7
        assert left(folder)
    assert left(folder) == []
    assert (cache / "file").read_text() == "seen\n"


def test_a_kill_leaves_nothing(folder: Path) -> None:
    story = f"""
import sys
from pathlib import Path
from tests.fresh import entry
from tests.runtimes import test_fresh_entry as here
with entry.removed(Path({str(folder)!r}), {NAME!r}) as made:
    here.set_up_root_filesystem(made / "root")
    entry.run(made / "root", {NAME!r}, "sleep {SLEEP.decode()} & wait", environment=here.BASE_ENVIRONMENT)
"""
    with subprocess.Popen([sys.executable, "-c", story], cwd=Path(__file__).parents[2]) as run:
        try:
            assert wait_until(lambda: bool(sleeping()))
            assert left(folder)
        finally:
            run.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not left(folder) and not sleeping()), [*left(folder), *sleeping()]


def sleeping() -> list[Path]:
    """The processes that the killed one has started in the tree."""
    return [process for process in Path("/proc").glob("[0-9]*") if _runs(process, b"sleep\0" + SLEEP + b"\0")]


def _runs(process: Path, words: bytes) -> bool:
    try:
        return (process / "cmdline").read_bytes() == words
    except OSError:
        return False
