# SPDX-License-Identifier: Apache-2.0
"""The first process of a node: creates the namespaces and the root file system, then keeps the services running.

`python -m podwire_lab.init LAB NODE SIZE_BYTES` starts outside of the node and waits for a byte on standard input,
which arrives when it is in the node's control groups. If its parent dies first, it reads end of file and exits. Its
child is process 1 of the node. When process 1 dies, the kernel kills all processes of the node and removes its mounts.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from podwire.netlink import constants as c
from podwire_lab import cgroup, programs, root, service
from podwire_lab.command import run
from podwire_lab.lab_host import LabHost

GO = b"g"
READY = b"ready\n"
RESTART_DELAY_SECONDS = 0.2
WAIT_FOR_PATH_SECONDS = 0.1
START_RETRY_SECONDS = 2.0
_SIGNALS = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT = {"PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"}

libc = ctypes.CDLL(None, use_errno=True)


def _check(answer: int, what: str) -> None:
    if answer:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter_namespaces(host: LabHost) -> None:
    """Enter the node's network namespace and create its other namespaces; children are in its PID namespace."""
    descriptor = os.open(host.netns_path, os.O_RDONLY | os.O_CLOEXEC)
    _check(libc.setns(descriptor, c.CLONE_NEWNET), f"setns {host.netns_path}")
    os.close(descriptor)
    flags = c.CLONE_NEWNS | c.CLONE_NEWCGROUP | c.CLONE_NEWUTS | c.CLONE_NEWIPC | c.CLONE_NEWPID
    _check(libc.unshare(flags), "unshare")


def set_up_root_filesystem(host: LabHost, size_bytes: int) -> None:
    """Mount the node's root file system and make it the root; raises CommandError, OSError."""
    stage = host.folder / "stage"
    stage.mkdir(exist_ok=True)
    trees = cgroup.read_hierarchies()
    mountinfo = Path("/proc/self/mountinfo").read_text()
    groups = stage / "root" / cgroup.ROOT.relative_to("/")
    run(["mount", "--make-rprivate", "/"])
    carried = root.carried_mounts(mountinfo, programs.needed_paths())
    for argv in (*root.tree(stage, carried, size_bytes), *cgroup.mounts(trees, groups), *root.enter(stage)):
        run(argv)
    os.chdir("/")
    cgroup.leave_top_group(max((tree.version for tree in trees), default=1))
    socket.sethostname(host.node)
    for name, text in root.files(host.node).items():
        file = Path(name)
        file.unlink(missing_ok=True)  # it may be a link to a file outside of /etc
        file.write_text(text)
    run(["ip", "link", "set", "lo", "up"])


class Supervisor:
    """Runs the services whose files are in the node's folder; SIGHUP makes it read them again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted: dict[str, service.Service] = {}
        self.running: dict[int, str] = {}
        self.due: dict[str, float] = {}  # monotonic time of its start, or of the next look for its paths

    def read(self) -> None:
        """Read the files; stop services that are removed or changed, start new services."""
        before, self.wanted = self.wanted, service.read_services(self.folder)
        for pid, name in self.running.items():
            if self.wanted.get(name) != before.get(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        alive = set(self.running.values())
        self.due = {name: 0.0 for name in self.wanted if name not in alive}

    def start_due_services(self) -> float:
        """Start the services that are due; returns the seconds until the next is due."""
        now = time.monotonic()
        for name, moment in list(self.due.items()):
            if moment > now:
                continue
            if all(Path(path).exists() for path in self.wanted[name].after):
                del self.due[name]
                self._start(self.wanted[name])
            else:
                self.due[name] = now + WAIT_FOR_PATH_SECONDS
        return max(0.0, min(self.due.values(), default=now + 3600) - now)

    def _start(self, wanted: service.Service) -> None:
        log = service.log_file(self.folder, wanted.name)
        try:
            pid = os.posix_spawnp(
                wanted.argv[0],
                wanted.argv,
                {**_ENVIRONMENT, **wanted.environment},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=list(_SIGNALS),
            )
        except OSError as error:
            print(f"{wanted.name} cannot start: {error}", file=sys.stderr, flush=True)  # noqa: T201 (its log)
            self.due[wanted.name] = time.monotonic() + START_RETRY_SECONDS
            return
        self.running[pid] = wanted.name
        (self.folder / f"{wanted.name}.pid").write_text(f"{pid}\n")

    def reap(self) -> None:
        """Reap all processes that ended, orphans as well; a service that ended is due after a delay."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                name = self.running.pop(ended[0], None)
                if name is None:
                    continue
                (self.folder / f"{name}.pid").unlink(missing_ok=True)
                if name in self.wanted:
                    self.due[name] = time.monotonic() + RESTART_DELAY_SECONDS

    def run(self) -> None:
        """Run until SIGTERM; the end of this process ends the node."""
        self.read()
        while True:
            seconds = self.start_due_services()
            caught = signal.sigtimedwait(_SIGNALS, seconds)
            if caught is None:
                continue
            if caught.si_signo == signal.SIGTERM:
                return
            if caught.si_signo == signal.SIGHUP:
                self.read()
            self.reap()


def boot(host: LabHost, size_bytes: int) -> None:
    """Run as process 1 of the node."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    set_up_root_filesystem(host, size_bytes)
    os.write(1, READY)
    os.dup2(2, 1)
    Supervisor(root.NODE_FOLDER).run()


def main(arguments: list[str]) -> int:
    """Wait for the byte, enter the node's namespaces and fork process 1."""
    if os.read(0, 1) != GO:
        return 1
    host = LabHost(arguments[0], arguments[1])
    enter_namespaces(host)
    pid = os.fork()
    if pid:
        (host.folder / "pid").write_text(f"{pid}\n")
        return 0
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    boot(host, int(arguments[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
