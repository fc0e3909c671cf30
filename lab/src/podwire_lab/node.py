"""A node: namespaces around an ordinary process tree, made, entered and taken away without a trace."""

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
from dataclasses import dataclass
from pathlib import Path

from podwire_lab import cgroup, init, lock, netns, service
from podwire_lab.command import TIMEOUT_SECONDS, Done, run
from podwire_lab.place import FOLDER, Place
from podwire_lab.service import Service

SIZE_BYTES = 8 << 30  # the most that a node may write; memory is taken only for what is written
LOCK_TIMEOUT_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.1


class NodeError(RuntimeError):
    """A node did not start, or something in it did not come up; the message ends with its log."""


def wait_until(true: Callable[[], bool], what: str, timeout_seconds: float = 30.0) -> None:
    """Look every 10 ms until it holds; raises TimeoutError that names `what`."""
    until = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(0.01)


@dataclass(frozen=True)
class Node:
    """One node. It holds nothing but its place: all else is asked of the machine."""

    place: Place

    @property
    def pid(self) -> int:
        """Its first process, as the machine counts; raises NodeError if it does not run."""
        with suppress(OSError, ValueError):
            pid = int((self.place.folder / "pid").read_text())
            # A number may have been given again: the process is the node's if it is in the node's network.
            if Path(f"/proc/{pid}/ns/net").stat().st_ino == self.place.netns_path.stat().st_ino:
                return pid
        raise NodeError(f"node {self.place.node} of lab {self.place.lab} does not run")

    @property
    def runs(self) -> bool:
        """Whether its first process is alive."""
        with suppress(NodeError):
            return bool(self.pid)
        return False

    def start(self, size_bytes: int = SIZE_BYTES) -> None:
        """Make it: network namespace (unless it is there), control groups, other namespaces, own file tree.

        Raises NodeError with the reason; `remove` then clears what there is.
        """
        folder = self.place.folder
        for below in (service.services_folder(folder), folder / "log"):
            below.mkdir(parents=True, exist_ok=True)
        if not self.place.netns_path.exists():
            netns.add(self.place)
        log = service.log_file(folder, "init")
        argv = [sys.executable, "-m", init.__name__, self.place.lab, self.place.node, str(size_bytes)]
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
            cgroup.join(self.place, first.pid)
            with suppress(BrokenPipeError):
                first.stdin.write(init.GO)
                first.stdin.close()
            answer = first.stdout.read(len(init.READY))
        if answer != init.READY:
            raise NodeError(f"node {self.place.node} did not start: {log.read_text()[-2000:]}")

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside."""
        return ["nsenter", f"--target={self.pid}", *_NAMESPACES, "--", *argv]

    def run(self, *argv: str, check: bool = True, stdin: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> Done:
        """Run a command inside to its end (see `command.run`)."""
        return run(self.argv(*argv), check=check, stdin=stdin, timeout_seconds=timeout_seconds)

    def path(self, inside: str) -> Path:
        """A file of the node, reached from the machine."""
        return Path(f"/proc/{self.pid}/root", inside.lstrip("/"))

    def write(self, inside: str, text: str) -> None:
        """Write a file of the node, its folders too: beside, then renamed, as a reader may watch the folder."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.new")
        beside.write_text(text)
        beside.rename(target)

    def link_program(self, program: Path) -> None:
        """Have a program of the machine in the node's PATH."""
        self.run("ln", "-sf", str(program), f"/usr/local/bin/{program.name}")

    def serve(self, wanted: Service) -> None:
        """Start a service, or start it anew if its description has changed."""
        service.write_service(self.place.folder, wanted)
        os.kill(self.pid, signal.SIGHUP)

    def end_service(self, name: str) -> None:
        """Stop a service and wait until it has ended."""
        (service.services_folder(self.place.folder) / f"{name}.json").unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.service_pid(name) is None, f"{name} on {self.place.node} ends")

    def service_pid(self, name: str) -> int | None:
        """A service's process id as the node counts, None while it does not run."""
        with suppress(OSError, ValueError):
            return int((self.place.folder / f"{name}.pid").read_text())
        return None

    def service_runs(self, name: str) -> bool:
        """Whether a service's process is there just now."""
        pid = self.service_pid(name)
        return pid is not None and self.path(f"/proc/{pid}").exists()

    def log(self, name: str) -> str:
        """What a service has said so far."""
        with suppress(FileNotFoundError):
            return service.log_file(self.place.folder, name).read_text(errors="replace")
        return ""

    def wait_for(self, true: Callable[[], bool], name: str, timeout_seconds: float = 30.0) -> None:
        """Wait until a service shows that it works; raises NodeError with the end of its log."""
        try:
            wait_until(true, f"{name} on {self.place.node}", timeout_seconds)
        except TimeoutError as late:
            words = self.log(name) or self.log("init")  # where there is no such program, the first process says so
            raise NodeError(f"{late}; its log ends: {words[-2000:]}") from late


_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")


def kill(place: Place) -> None:
    """Kill a node's first process, and with it all that runs in it; no error if there is none."""
    with suppress(NodeError, ProcessLookupError):
        os.kill(Node(place).pid, signal.SIGKILL)


def remove(place: Place) -> None:
    """Kill what runs at a place, remove its control groups, network namespace and folder; repeatable."""
    kill(place)
    cgroup.clear(place)
    netns.delete(place)
    shutil.rmtree(place.folder, ignore_errors=True)


def read_all_places() -> set[Place]:
    """All places of all labs of which anything is left, however little."""
    folders = {Place(folder.parent.name, folder.name) for folder in FOLDER.glob("*/*")}
    return folders | cgroup.read_places() | netns.read_places()


def read_places(lab: str) -> list[Place]:
    """All places of a lab of which anything is left."""
    return sorted(place for place in read_all_places() if place.lab == lab)


def remove_places(lab: str) -> list[Place]:
    """Remove everything of a lab, which nobody may make meanwhile (see `lock`); the places that were there."""
    places = read_places(lab)
    for place in places:
        kill(place)  # all of them first: none waits for another to end
    with ThreadPoolExecutor(len(places) or 1) as workers:
        list(workers.map(remove, places))
    return places


def remove_lab(lab: str) -> list[Place]:
    """Remove everything of a lab, also one that is half made or half removed; the places that were there.

    Raises LabBusyError if somebody goes on making it.
    """
    found = set(read_places(lab))
    if not found and not (FOLDER / lab).exists():
        return []
    until = time.monotonic() + LOCK_TIMEOUT_SECONDS
    while True:
        for place in found:
            kill(place)  # who is making it fails then, and lets go
        try:
            with lock.hold(lab, LOOK_AGAIN_SECONDS):
                found.update(remove_places(lab))
                return sorted(found)
        except lock.LabBusyError:
            if time.monotonic() > until:
                raise
        found.update(read_places(lab))
