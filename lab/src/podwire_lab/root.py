"""The file tree of a node: the machine's own tree below, everything the node writes in memory above it. Pure.

An overlay of the machine's root makes each node a whole Debian with the programs installed here, and nothing
that a runtime, a plug-in or a kubelet writes ever reaches the machine. The upper layer is a tmpfs that only the
node's mount namespace holds: it goes when the node's first process goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

# What a node has for itself, empty at its start; not on the overlay, since a snapshotter needs another
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
NODE_FOLDER = Path("/run/podwire-lab")  # inside a node: its own folder of the machine's FOLDER


def carried_mounts(mountinfo: str, needed: Iterable[Path]) -> list[str]:
    """The machine's mounts, other than its root, that hold a path the node needs (a checkout on /home, say)."""
    mountpoints = {line.split()[4].replace("\\040", " ") for line in mountinfo.splitlines()}
    carried: set[str] = set()
    for path in needed:
        holding = next(str(each) for each in (path, *path.parents) if str(each) in mountpoints)
        if holding != "/":
            carried.add(holding)
    return sorted(carried)


def tree(stage: Path, carried: Iterable[str], size_bytes: int) -> list[list[str]]:
    """The commands that build the node's tree at `stage`/root, given inside its mount namespace.

    `stage` is an empty folder of the machine; only this namespace ever sees what is mounted on it.
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
    """The commands that make the tree the root and let the machine's go; kubelet needs the mounts shared."""
    old = ".machine"
    return [
        ["mkdir", f"{stage}/root/{old}"],
        ["pivot_root", f"{stage}/root", f"{stage}/root/{old}"],
        ["umount", "-l", f"/{old}"],
        ["rmdir", f"/{old}"],
        ["mount", "--make-rshared", "/"],
    ]


def hosts(node: str, others: Mapping[str, Iterable[str]] | None = None) -> str:
    """The text of a node's /etc/hosts; `others` are the addresses of all hosts by name."""
    lines = ["127.0.0.1 localhost", "::1 localhost", f"127.0.1.1 {node}"]
    lines += [f"{address} {name}" for name, addresses in (others or {}).items() for address in addresses]
    return "".join(f"{line}\n" for line in lines)


def files(node: str) -> dict[str, str]:
    """The node's own names, by path."""
    return {
        "/etc/hostname": f"{node}\n",
        "/etc/hosts": hosts(node),
        "/etc/resolv.conf": "# no resolver: the lab has no names but those of its hosts\n",
    }
