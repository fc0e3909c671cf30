# SPDX-License-Identifier: Apache-2.0
"""Enters a root file system in namespaces of its own, and removes all of it however the run ends.

The network stays the machine's, since packages come over it. All else is new: mounts, processes, names, IPC and
control groups, which are those of a host of the lab, so that labs outside and inside do not see each other.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from podwire_lab import cgroup
from podwire_lab.lab_host import LabHost

LAB = "fresh"
_MODULES = Path("/lib/modules", os.uname().release)


def _mounts(root: Path, caches: Mapping[Path, Path]) -> list[list[str]]:
    """The commands that complete the tree, given inside its mount namespace: kernel file systems and caches."""
    commands = [
        ["mount", "--bind", f"{root}", f"{root}"],
        ["mount", "-t", "proc", "proc", f"{root}/proc"],
        ["mount", "-t", "sysfs", "sysfs", f"{root}/sys"],
        *cgroup.mounts(cgroup.read_hierarchies(), root / cgroup.ROOT.relative_to("/")),
        ["mount", "--rbind", "/dev", f"{root}/dev"],
        ["mount", "-t", "tmpfs", "tmpfs", f"{root}/dev/shm"],  # noqa: S108 (a mount point)
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/run"],
        ["mkdir", f"{root}/run/lock"],
    ]
    shared = dict(caches)
    if _MODULES.is_dir():
        shared[_MODULES] = _MODULES  # they are the kernel's, which is the machine's
    for outside, inside in shared.items():
        commands += [
            ["mkdir", "-p", f"{outside}", f"{root}{inside}"],
            ["mount", "--bind", f"{outside}", f"{root}{inside}"],
        ]
    return commands


def _enter(root: Path, name: str) -> list[list[str]]:
    """The commands that make the tree the root and let the machine's go."""
    old = ".machine"
    return [
        ["hostname", name],
        ["mkdir", f"{root}/{old}"],
        ["pivot_root", f"{root}", f"{root}/{old}"],
        ["cd", "/"],
        ["umount", "-l", f"/{old}"],
        ["rmdir", f"/{old}"],
        ["mount", "--make-rshared", "/"],
    ]


# With cgroup v2 a group holds processes or passes controllers on: the top one of the namespace does the latter.
_LEAVE_THE_TOP_GROUP = "if [ -e {0}/cgroup.procs ]; then mkdir {0}/init; echo 0 >{0}/init/cgroup.procs; fi"


def _script(root: Path, name: str, caches: Mapping[Path, Path], environment: Mapping[str, str], script: str) -> str:
    """The shell text that process 1 of the new PID namespace runs; it ends as bash with `script`."""
    commands = [shlex.join(argv) for argv in (*_mounts(root, caches), *_enter(root, name))]
    words = [f"{key}={value}" for key, value in environment.items()]
    last = shlex.join(["exec", "/usr/bin/env", "-i", *words, "/bin/bash", "-euc", script])
    return "\n".join(["set -eu", *commands, _LEAVE_THE_TOP_GROUP.format(cgroup.ROOT), last])


def run(
    root: Path, name: str, script: str, *, environment: Mapping[str, str], caches: Mapping[Path, Path] | None = None
) -> int:
    """Run a bash script as process 1 of the tree at `root`; its exit status. The caller is inside `removed`."""
    first = ["sh", "-c", _script(root, name, caches or {}, environment, script)]
    return contained(name, first, "--uts", "--ipc", "--cgroup")


def contained(name: str, command: Sequence[str], *namespaces: str) -> int:
    """Run a command in new mount and PID namespaces and in the control groups that `remove` empties; its status."""
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *namespaces, "--"]
    # It waits for a line: by then it is in the control groups, which its cgroup namespace begins with.
    argv = ["sh", "-c", 'read -r go && exec "$@" </dev/null', "sh", *unshare, *command]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd="/", start_new_session=True) as running:
        try:
            assert running.stdin is not None
            cgroup.join(LabHost(LAB, name), running.pid)
            running.stdin.write(b"go\n")
            running.stdin.close()
            return running.wait()
        except BaseException:
            running.kill()
            raise


def remove(folder: Path, name: str) -> None:
    """Kill what runs in the tree, remove its control groups and the folder; repeatable."""
    cgroup.clear(LabHost(LAB, name))
    # Its mounts were in a namespace that is gone. Should one be left all the same, nothing in it is removed.
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@contextmanager
def removed(folder: Path, name: str) -> Iterator[Path]:
    """The new, empty folder for a tree; at the end all of it goes, also if this process is killed.

    A process of its own waits for the end of this one: the pipe between them ends with it.
    """
    remove(folder, name)
    reading, writing = os.pipe()
    sys.stdout.flush()
    cleaner = os.fork()
    if not cleaner:
        _clean_at_the_end(reading, writing, folder, name)
    os.close(reading)
    try:
        folder.mkdir(parents=True)
        yield folder
    finally:
        os.close(writing)
        if os.waitpid(cleaner, 0)[1]:
            raise RuntimeError(f"{folder} could not be removed: see above")


def _clean_at_the_end(reading: int, writing: int, folder: Path, name: str) -> None:
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        os.read(reading, 1)
        remove(folder, name)
        status = 0
    finally:
        os._exit(status)
