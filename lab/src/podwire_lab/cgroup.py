# SPDX-License-Identifier: Apache-2.0
"""The control groups of a node: creates, joins, mounts, empties and removes them.

With cgroup v1 a node has a group in each hierarchy, below the caller's own group (so that the caller's limits apply
to the lab). With only v2 the group is below the root, because a group with processes cannot enable controllers for
child groups.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from podwire.record import Record
from podwire_lab.lab_host import CGROUP, LabHost

ROOT = Path("/sys/fs/cgroup")
EMPTY_TIMEOUT_SECONDS = 20.0


class Hierarchy(Record):
    """A hierarchy of control groups: its mount point, this process' group in it, and its mount options."""

    mountpoint: Path
    own: str
    version: int
    options: str = ""  # v1: its controllers, or `name=…`

    @property
    def base(self) -> Path:
        """The group below which the lab creates its groups."""
        return self.mountpoint if self.version == 2 else self.mountpoint / self.own.lstrip("/")

    def group(self, host: LabHost) -> Path:
        """The node's group in this hierarchy."""
        return self.base / host.cgroup


def hierarchies(mountinfo: str, own: str) -> list[Hierarchy]:
    """The hierarchies of this machine, from the text of /proc/self/mountinfo and /proc/self/cgroup.

    The v2 hierarchy is used only if there is no v1 hierarchy: otherwise it has no controllers.
    """
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in own.splitlines())}
    known = {word for controllers in paths for word in controllers.split(",")}
    v1: dict[str, Hierarchy] = {}
    v2: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        shown, mountpoint = mount.split()[3:5]
        fstype, _, super_options = source.split(" ", 2)
        if fstype == "cgroup2":
            v2.append(Hierarchy(Path(mountpoint), "/", 2))
        elif fstype == "cgroup":
            options = ",".join(word for word in super_options.split(",") if word in known)
            here = paths.get(options, "/").removeprefix(shown.rstrip("/"))
            v1.setdefault(options, Hierarchy(Path(mountpoint), here, 1, options))
    return list(v1.values()) or v2[:1]


def read_hierarchies() -> list[Hierarchy]:
    """The hierarchies that are mounted on this machine."""
    return hierarchies(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def _path_to_group(hierarchy: Hierarchy, host: LabHost) -> Iterator[Path]:
    """The groups from below the base down to the node's group."""
    here = hierarchy.base
    for word in Path(host.cgroup).parts:
        here = here / word
        yield here


def _enable_controllers(parent: Path, group: Path, version: int) -> None:
    """Give a new group the settings of its parent: cpuset (v1) needs CPUs before a process joins, v2 controllers."""
    if version == 2:
        for controller in (parent / "cgroup.controllers").read_text().split():
            with suppress(OSError):  # the node does without a controller that cannot be enabled
                (parent / "cgroup.subtree_control").write_text(f"+{controller}")
    elif (parent / "cpuset.cpus").exists():
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not (group / file).read_text().strip():
                (group / file).write_text((parent / file).read_text())


def join(host: LabHost, pid: int) -> None:
    """Create the node's groups and move a process into them; raises OSError."""
    for hierarchy in read_hierarchies():
        for group in _path_to_group(hierarchy, host):
            group.mkdir(exist_ok=True)
            _enable_controllers(group.parent, group, hierarchy.version)
        (hierarchy.group(host) / "cgroup.procs").write_text(str(pid))


def mounts(trees: Iterable[Hierarchy], root: Path) -> list[list[str]]:
    """The commands that mount a node's own groups under `root`; they run in its cgroup namespace."""
    commands: list[list[str]] = []
    for tree in trees:
        if tree.version == 2:
            return [["mount", "-t", "cgroup2", "cgroup2", f"{root}"]]
        inside = root / tree.mountpoint.name
        commands.append(["mkdir", "-p", f"{inside}"])
        options = f"none,{tree.options}" if tree.options.startswith("name=") else tree.options
        commands.append(["mount", "-t", "cgroup", "-o", options, "cgroup", f"{inside}"])
    return [["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}"], *commands]


def leave_top_group(version: int) -> None:
    """In a node with cgroup v2: move this process out of the top group, so that the top group may have child groups.

    A group cannot have processes and enable controllers for child groups, which the container runtime needs.
    """
    if version == 2:
        leaf = ROOT / "init"
        leaf.mkdir(exist_ok=True)
        (leaf / "cgroup.procs").write_text("0")
        _enable_controllers(ROOT, leaf, version)


def _lab_roots() -> Iterator[Path]:
    """All `podwire-lab` groups: a caller in another group creates another one."""
    for hierarchy in read_hierarchies():
        for folder, below, _ in os.walk(hierarchy.mountpoint):
            if CGROUP in below:
                yield Path(folder, CGROUP)
                below.remove(CGROUP)


def read_hosts() -> set[LabHost]:
    """The hosts of all labs that have a control group."""
    found = set()
    for root in _lab_roots():
        for group in root.glob("*/*"):
            if group.is_dir():
                found.add(LabHost(group.parent.name, group.name))
    return found


def _processes(groups: Iterable[Path]) -> set[int]:
    pids: set[int] = set()
    for top in groups:
        for folder, _, _ in os.walk(top):
            with suppress(OSError):
                pids.update(int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
    return pids


def _remove(group: Path) -> bool:
    """Remove a group and its child groups; False if the kernel still keeps a group."""
    gone = True
    for folder, _, _ in os.walk(group, topdown=False):
        try:
            Path(folder).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            gone = False
    return gone


def clear(host: LabHost) -> None:
    """Kill all processes in the node's groups and remove the groups, and the lab's group after its last node.

    Raises TimeoutError if a process does not end.
    """
    tops = list(_lab_roots())
    groups = [top / host.lab / host.node for top in tops]
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
        for empty in (top / host.lab, top):
            with suppress(OSError):  # another node or another lab uses it
                empty.rmdir()
