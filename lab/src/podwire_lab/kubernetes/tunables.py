"""The kernel's settings that a kubelet insists on, without setting them: they are not the node's but the machine's.

A kubelet reads each of them and writes those that differ; if it may not, it does not start. So the node has files of
its own in their place, which say what the kubelet wants to read. What pods get is not affected by any of them.
"""

from __future__ import annotations

from podwire_lab.node import Node

WANTED = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
"""kubelet's `setupKernelTunables` (pkg/kubelet/cm/container_manager_linux.go)."""

_FOLDER = "/run/podwire-lab-tunables"


def cover(node: Node) -> None:
    """Put the node's own files over the machine's settings, in the node alone; raises CommandError."""
    for key, value in WANTED.items():
        file = f"{_FOLDER}/{key.replace('/', '.')}"
        node.write(file, f"{value}\n")
        node.run("mount", "--bind", file, f"/proc/sys/{key}")
