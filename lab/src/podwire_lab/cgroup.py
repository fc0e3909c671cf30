"""The control groups of a node: made, joined, shown inside, emptied by force and removed.

On a machine with cgroup v1 each hierarchy gets its group, below the caller's own (so that limits set on the
caller hold for the lab too). With v2 alone the group is below the root, since a group that has processes cannot
pass its controllers on to groups below it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from podwire_lab.place import CGROUP, Place

ROOT = Path("/sys/fs/cgroup")
EMPTY_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Hierarchy:
    """One tree of control groups: where it is mounted, where this process is in it, how to mount it again."""

    mountpoint: Path
    own: str
    version: int
    options: str = ""  # v1: its controllers, or `name=…`

    @property
    def base(self) -> Path:
        """The group below which the lab makes its own."""
        return self.mountpoint if self.version == 2 else self.mountpoint / self.own.lstrip("/")

    def group(self, place: Place) -> Path:
        """The node's group in this tree."""
        return self.base / place.cgroup


def hierarchies(mountinfo: str, own: str) -> list[Hierarchy]:
    """The trees of this machine, from the text of /proc/self/mountinfo and /proc/self/cgroup.

    The v2 tree counts only if there is no other: in a mixed machine it has no controllers.
    """
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in own.splitlines())}
    known = {word for controllers in paths for word in controllers.split(",")}
    first: dict[str, Hierarchy] = {}
    second: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        shown, mountpoint = mount.split()[3:5]
        fstype, _, super_options = source.split(" ", 2)
        if fstype == "cgroup2":
            second.append(Hierarchy(Path(mountpoint), "/", 2))
        elif fstype == "cgroup":
            options = ",".join(word for word in super_options.split(",") if word in known)
            here = paths.get(options, "/").removeprefix(shown.rstrip("/"))
            first.setdefault(options, Hierarchy(Path(mountpoint), here, 1, options))
    return list(first.values()) or second[:1]


def read_hierarchies() -> list[Hierarchy]:
    """The trees of this machine as they are mounted now."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def _steps(hierarchy: Hierarchy, place: Place) -> Iterator[Path]:
    """The groups on the way from the base to the node's, the base left out."""
    here = hierarchy.base
    for word in Path(place.cgroup).parts:
        here = here / word
        yield here


def _pass_on(parent: Path, group: Path, version: int) -> None:
    """Let a new group have what its parent has: cpuset (v1) takes no process before, v2 has no controllers."""
    if version == 2:
        for controller in (parent / "cgroup.controllers").read_text().split():
            with suppress(OSError):  # a controller that cannot be passed on is just not there
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    elif (parent / "cpuset.cpus").exists():
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (group / file).read_text().strip():
                (group / file).write_text((parent / file).read_text())


def join(place: Place, pid: int) -> None:
    """Make the node's groups and move a process into them; raises OSError."""
    for hierarchy in read_hierarchies():
        for group in _steps(hierarchy, place):
            group.mkdir(exist_ok=True)
            _pass_on(group.parent, group, hierarchy.version)
        (hierarchy.group(place) / "cgroup.procs").write_text(str(pid))


def mounts(trees: Iterable[Hierarchy], root: Path) -> list[list[str]]:
    """The commands that show a node its own groups under `root`, given inside its cgroup namespace."""
    commands: list[list[str]] = []
    for tree in trees:
        if tree.version == 2:
            return [["mount", "-t", "cgroup2", "cgroup2", f"{root}"]]
        inside = root / tree.mountpoint.name
        commands.append(["mkdir", "-p", f"{inside}"])
        options = f"none,{tree.options}" if tree.options.startswith("name=") else tree.options
        commands.append(["mount", "-t", "cgroup", "-o", options, "cgroup", f"{inside}"])
    return [["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}"], *commands]


def settle(version: int) -> None:
    """Inside a node of a v2 machine: leave the group at its top, so that this one may have groups below it.

    The kernel lets a group either hold processes or pass controllers on, and the runtime wants the latter.
    """
    if version == 2:
        leaf = ROOT / "init"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text("0")
        _pass_on(ROOT, leaf, version)


def _lab_roots() -> Iterator[Path]:
    """Every `podwire-lab` group, wherever a caller in another group made it."""
    for hierarchy in read_hierarchies():
        for folder, below, _ in os.walk(hierarchy.mountpoint):
            if CGROUP in below:
                yield Path(folder, CGROUP)
                below.remove(CGROUP)


def read_places() -> set[Place]:
    """The nodes of all labs that have a control group."""
    found = set()
    for root in _lab_roots():
        for group in root.glob("*/*"):
            if group.is_dir():
                found.add(Place(group.parent.name, group.name))
    return found


def _processes(groups: Iterable[Path]) -> set[int]:
    pids: set[int] = set()
    for top in groups:
        for folder, _, _ in os.walk(top):
            with suppress(OSError):
                pids.update(int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
    return pids


def _remove(group: Path) -> bool:
    """Remove a group and those below it; False while the kernel still holds one of them."""
    gone = True
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def clear(place: Place) -> None:
    """Kill all that is in the node's groups and remove them, then the lab's if it was the last node.

    Raises TimeoutError if the kernel does not let go of a process.
    """
    tops = list(_lab_roots())
    groups = [top / place.lab / place.node for top in tops]
    until = time.monotonic() + EMPTY_TIMEOUT_SECONDS
    while True:
        pids = _processes(groups)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        busy = [group for group in groups if not _remove(group)]
        if not busy and not pids:
            break
        if time.monotonic() > until:
            raise TimeoutError(f"control groups stay busy: {busy}, processes {sorted(pids)}")
        time.sleep(0.005)
    for top in tops:
        for empty in (top / place.lab, top):
            with suppress(OSError):  # another node, another lab
                empty.rmdir()
