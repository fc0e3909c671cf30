# SPDX-License-Identifier: Apache-2.0
"""The root file system of a node: an overlay with the machine's root as the lower layer and a tmpfs above it. Pure.

So a node is a whole Debian with the programs of this machine, and nothing that a runtime, a plugin or a kubelet writes
changes the machine. Only the node's mount namespace has the tmpfs: it is freed when the node's first process ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

# Folders that are empty when a node starts; they are not on the overlay, because a snapshotter cannot use one
OWN_FOLDERS = (
    "etc/cni/net.d",
    "etc/containerd",
    "etc/kubernetes",
    "opt/cni/bin",
    "var/lib/cni",
    "var/lib/containerd",
    "var/lib/containers",
    "var/lib/etcd",
    "var/lib/kubelet",
    "var/log",
)
NODE_FOLDER = Path("/run/podwire-lab")  # in a node: the bind mount of its folder on the machine


def carried_mounts(mountinfo: str, needed: Iterable[Path]) -> list[str]:
    """The machine's mounts, except its root, that contain a path which the node needs (a checkout on /home)."""
    mountpoints = {line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines()}
    carried: set[str] = set()
    for path in needed:
        holding = next(str(parent) for parent in (path, *path.parents) if str(parent) in mountpoints)
        if holding != "/":
            carried.add(holding)
    return sorted(carried)


def tree(stage: Path, carried: Iterable[str], size_bytes: int) -> list[list[str]]:
    """The commands that mount the node's root at `stage`/root; they run in its mount namespace.

    `stage` is an empty folder of the machine; its mounts exist only in this namespace.
    """
    root, own, node = stage / "root", stage / "own", stage.parent
    overlay = f"lowerdir=/,upperdir={stage}/upper,workdir={stage}/work"
    return [
        ["mount", "-t", "tmpfs", "-o", f"mode=755,size={size_bytes}", "podwire-lab", f"{stage}"],
        ["mkdir", "-p", *(f"{stage}/{name}" for name in ("root", "upper", "work"))],
        ["mount", "-t", "overlay", "-o", overlay, "overlay", f"{root}"],
        ["mkdir", "-p", *(f"{where}/{folder}" for folder in OWN_FOLDERS for where in (own, root))],
        *(["mount", "--bind", f"{own}/{folder}", f"{root}/{folder}"] for folder in OWN_FOLDERS),
        *(["mount", "--rbind", mountpoint, f"{root}{mountpoint}"] for mountpoint in carried),
        ["mount", "-t", "proc", "proc", f"{root}/proc"],
        ["mount", "-t", "sysfs", "sysfs", f"{root}/sys"],
        ["mount", "--rbind", "/dev", f"{root}/dev"],
        ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/run"],
        ["mkdir", "-p", f"{root}{NODE_FOLDER}", f"{root}/run/netns", f"{root}/run/lock"],
        ["mount", "--bind", f"{node}", f"{root}{NODE_FOLDER}"],
    ]


def enter(stage: Path) -> list[list[str]]:
    """The commands that make it the root and unmount the machine's root; a kubelet needs shared mounts."""
    old = ".machine"
    return [
        ["mkdir", f"{stage}/root/{old}"],
        ["pivot_root", f"{stage}/root", f"{stage}/root/{old}"],
        ["umount", "-l", f"/{old}"],
        ["rmdir", f"/{old}"],
        ["mount", "--make-rshared", "/"],
    ]


def etc_hosts(node: str, others: Mapping[str, Iterable[str]] | None = None) -> str:
    """The text of a node's /etc/hosts; `others` are the addresses of all hosts by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost", f"127.0.1.1 {node}"]
    lines += [f"{address} {name}" for name, addresses in (others or {}).items() for address in addresses]
    return "".join(f"{line}\n" for line in lines)


def files(node: str) -> dict[str, str]:
    """The files with the node's own names, by path."""
    return {
        "/etc/hostname": f"{node}\n",
        "/etc/hosts": etc_hosts(node),
        "/etc/resolv.conf": "# no resolver: /etc/hosts has all names of the lab\n",
    }
