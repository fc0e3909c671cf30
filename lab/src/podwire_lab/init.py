"""The first process of a node: makes the namespaces and the file tree, then keeps the services running.

`python -m podwire_lab.init LAB NODE SIZE_BYTES` begins outside and waits for a byte on standard input: by then
it has been put into the node's control groups. If whoever started it dies before, it reads the end of the file
and ends. Its child is process 1 of the node. When that dies, the kernel kills everything in the node and drops
its mounts.
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
from podwire_lab.place import Place

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


def leave_the_machine(place: Place) -> None:
    """Enter the node's network namespace and begin all its other ones; children are in its PID namespace."""
    descriptor = os.open(place.netns_path, os.O_RDONLY | os.O_CLOEXEC)
    _check(libc.setns(descriptor, c.CLONE_NEWNET), f"setns {place.netns_path}")
    os.close(descriptor)
    flags = c.CLONE_NEWNS | c.CLONE_NEWCGROUP | c.CLONE_NEWUTS | c.CLONE_NEWIPC | c.CLONE_NEWPID
    _check(libc.unshare(flags), "unshare")


def furnish(place: Place, size_bytes: int) -> None:
    """Build the node's file tree and move into it; raises CommandError, OSError."""
    stage = place.folder / "stage"
    stage.mkdir(exist_ok=True)
    trees = cgroup.read_hierarchies()
    mountinfo = Path("/proc/self/mountinfo").read_text()
    groups = stage / "root" / cgroup.ROOT.relative_to("/")
    run(["mount", "--make-rprivate", "/"])
    carried = root.carried_mounts(mountinfo, programs.needed_paths())
    for argv in (
        *root.tree(stage, carried, size_bytes),
        *cgroup.mounts(trees, groups),
        *root.enter(stage),
    ):
        run(argv)
    os.chdir("/")
    cgroup.settle(max((tree.version for tree in trees), default=1))
    socket.sethostname(place.node)
    for name, text in root.files(place.node).items():
        file = Path(name)
        file.unlink(missing_ok=True)  # it may be a link out of /etc
        file.write_text(text)
    run(["ip", "link", "set", "lo", "up"])


class Supervisor:
    """Runs the services whose files are in the node's folder: SIGHUP says that the files have changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wanted: dict[str, service.Service] = {}
        self.running: dict[int, str] = {}
        self.due: dict[str, float] = {}  # monotonic time at which to start it, or to look again

    def read(self) -> None:
        """Read the files; stop what is no longer there or has changed, begin what is new."""
        before, self.wanted = self.wanted, service.read_services(self.folder)
        for pid, name in self.running.items():
            if self.wanted.get(name) != before.get(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        alive = set(self.running.values())
        self.due = {name: 0.0 for name in self.wanted if name not in alive}

    def start_what_is_due(self) -> float:
        """Start services whose time has come; the seconds until there is something to do again."""
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
        except OSError as refused:
            print(f"{wanted.name} cannot start: {refused}", file=sys.stderr, flush=True)  # noqa: T201 (its log)
            self.due[wanted.name] = time.monotonic() + START_RETRY_SECONDS
            return
        self.running[pid] = wanted.name
        (self.folder / f"{wanted.name}.pid").write_text(f"{pid}\n")

    def reap(self) -> None:
        """Take leave of every process that ended, orphans too; a service that ended is due again soon."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                name = self.running.pop(ended[0], None)
                if name is None:
                    continue
                (self.folder / f"{name}.pid").unlink(missing_ok=True)
                if name in self.wanted:
                    self.due[name] = time.monotonic() + RESTART_DELAY_SECONDS

    def run(self) -> None:
        """Until SIGTERM; the end of this process ends the node."""
        self.read()
        while True:
            seconds = self.start_what_is_due()
            caught = signal.sigtimedwait(_SIGNALS, seconds)
            if caught is None:
                continue
            if caught.si_signo == signal.SIGTERM:
                return
            if caught.si_signo == signal.SIGHUP:
                self.read()
            self.reap()


def boot(place: Place, size_bytes: int) -> None:
    """Be process 1 of the node."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    furnish(place, size_bytes)
    os.write(1, READY)
    os.dup2(2, 1)
    Supervisor(root.NODE_FOLDER).run()


def main(arguments: list[str]) -> int:
    """Wait for the word to go, leave the machine's namespaces, and leave a child there as process 1."""
    if os.read(0, 1) != GO:
        return 1
    place = Place(arguments[0], arguments[1])
    leave_the_machine(place)
    pid = os.fork()
    if pid:
        (place.folder / "pid").write_text(f"{pid}\n")
        return 0
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    boot(place, int(arguments[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
