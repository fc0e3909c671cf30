# SPDX-License-Identifier: Apache-2.0
"""A node: creates, enters and removes the namespaces of a process tree, and leaves nothing on the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from podwire.record import Record
from podwire_lab import cgroup, init, lock, netns, service
from podwire_lab.command import TIMEOUT_SECONDS, CommandResult, run
from podwire_lab.lab_host import FOLDER, LabHost
from podwire_lab.service import Service

SIZE_BYTES = 8 << 30  # limit of a node's files; memory is used only for what is written
LOCK_TIMEOUT_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.1


class NodeError(RuntimeError):
    """A node or a service in it did not start; the message ends with its log."""


def wait_until(true: Callable[[], bool], name: str, timeout_seconds: float = 30.0) -> None:
    """Call `true` every 10 ms until it returns True; raises TimeoutError with `name`."""
    until = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"{name}: not within {timeout_seconds:g} s")
        time.sleep(0.01)


class Node(Record):
    """A node of a lab. It has no state of its own: everything is read from the machine."""

    host: LabHost

    @property
    def pid(self) -> int:
        """The PID of its first process on the machine; raises NodeError if it does not run."""
        with suppress(OSError, ValueError):
            pid = int((self.host.folder / "pid").read_text())
            # PIDs are reused: the process is the node's if it is in the node's network namespace.
            if Path(f"/proc/{pid}/ns/net").stat().st_ino == self.host.netns_path.stat().st_ino:
                return pid
        raise NodeError(f"node {self.host.node} of lab {self.host.lab} does not run")

    @property
    def runs(self) -> bool:
        """Whether its first process is alive."""
        with suppress(NodeError):
            return bool(self.pid)
        return False

    def start(self, size_bytes: int = SIZE_BYTES) -> None:
        """Create its network namespace (unless it exists), control groups, other namespaces and root file system.

        Raises NodeError with the reason; `remove` removes an incomplete node.
        """
        folder = self.host.folder
        for below in (service.services_folder(folder), folder / "log"):
            below.mkdir(parents=True, exist_ok=True)
        if not self.host.netns_path.exists():
            netns.add(self.host)
        log = service.log_file(folder, "init")
        argv = [sys.executable, "-m", init.__name__, self.host.lab, self.host.node, str(size_bytes)]
        with log.open("ab") as words:
            first = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        with first:
            assert first.stdin and first.stdout
            cgroup.join(self.host, first.pid)
            with suppress(BrokenPipeError):
                first.stdin.write(init.GO)
                first.stdin.close()
            answer = first.stdout.read(len(init.READY))
        if answer != init.READY:
            raise NodeError(f"node {self.host.node} did not start: {log.read_text()[-2000:]}")

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in the node."""
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--", *argv]

    def run(
        self, *argv: str, check: bool = True, stdin: str = "", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> CommandResult:
        """Run a command in the node to its end (see `command.run`)."""
        return run(self.argv(*argv), check=check, stdin=stdin, timeout_seconds=timeout_seconds)

    def path(self, inside: str) -> Path:
        """The path on the machine of a file of the node."""
        return Path(f"/proc/{self.pid}/root", inside.lstrip("/"))

    def write(self, inside: str, text: str) -> None:
        """Write a file of the node and create its folder; the file is renamed into place, for readers that watch it."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(text)
        beside.rename(target)

    def link_program(self, program: Path) -> None:
        """Link a program of the machine into the node's PATH."""
        self.run("ln", "-sf", str(program), f"/usr/local/bin/{program.name}")

    def serve(self, wanted: Service) -> None:
        """Start a service, or restart it if its description has changed."""
        service.write_service(self.host.folder, wanted)
        os.kill(self.pid, signal.SIGHUP)

    def end_service(self, name: str) -> None:
        """Stop a service and wait until it has ended."""
        (service.services_folder(self.host.folder) / f"{name}.json").unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.service_pid(name) is None, f"{name} on {self.host.node} ends")

    def service_pid(self, name: str) -> int | None:
        """A service's PID in the node; None while it does not run."""
        with suppress(OSError, ValueError):
            return int((self.host.folder / f"{name}.pid").read_text())
        return None

    def service_runs(self, name: str) -> bool:
        """Whether a service's process exists."""
        pid = self.service_pid(name)
        return pid is not None and self.path(f"/proc/{pid}").exists()

    def log(self, name: str) -> str:
        """The log of a service."""
        with suppress(FileNotFoundError):
            return service.log_file(self.host.folder, name).read_text(errors="replace")
        return ""

    def wait_for(self, true: Callable[[], bool], name: str, timeout_seconds: float = 30.0) -> None:
        """Wait until `true` returns True; raises NodeError with the end of the service's log."""
        try:
            wait_until(true, f"{name} on {self.host.node}", timeout_seconds)
        except TimeoutError as late:
            words = self.log(name) or self.log("init")  # if the program is missing, only the first process logs it
            raise NodeError(f"{late}; its log ends: {words[-2000:]}") from late


_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


def kill(host: LabHost) -> None:
    """Kill a node's first process and so all its processes; no error if it does not run."""
    with suppress(NodeError, ProcessLookupError):
        os.kill(Node(host).pid, signal.SIGKILL)


def remove(host: LabHost) -> None:
    """Kill a host's processes and remove its control groups, network namespace and folder; idempotent."""
    kill(host)
    cgroup.clear(host)
    netns.delete(host)
    shutil.rmtree(host.folder, ignore_errors=True)


def read_all_hosts() -> set[LabHost]:
    """All hosts of all labs of which anything is left, however little."""
    folders = {LabHost(folder.parent.name, folder.name) for folder in FOLDER.glob("*/*")}
    return folders | cgroup.read_hosts() | netns.read_hosts()


def read_hosts(lab: str) -> list[LabHost]:
    """All hosts of a lab, also incomplete ones."""
    return sorted(host for host in read_all_hosts() if host.lab == lab)


def remove_hosts(lab: str) -> list[LabHost]:
    """Remove a lab; the caller holds its lock. Returns the hosts that existed."""
    hosts = read_hosts(lab)
    for host in hosts:
        kill(host)  # kill all of them first: they end in parallel
    with ThreadPoolExecutor(len(hosts) or 1) as workers:
        list(workers.map(remove, hosts))
    return hosts


def remove_lab(lab: str) -> list[LabHost]:
    """Remove a lab, also an incomplete one. Returns the hosts that existed.

    Raises LabBusyError if another command keeps its lock.
    """
    found = set(read_hosts(lab))
    if not found and not (FOLDER / lab).exists():
        return []
    until = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        for host in found:
            kill(host)  # a command that is building it fails then and releases the lock
        try:
            with lock.hold(lab, LOOK_AGAIN_SECONDS):
                found.update(remove_hosts(lab))
                return sorted(found)
        except lock.LabBusyError:
            if time.monotonic() > until:
                raise
        found.update(read_hosts(lab))
