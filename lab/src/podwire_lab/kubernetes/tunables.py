# SPDX-License-Identifier: Apache-2.0
"""Hides the machine's sysctls that a kubelet insists on, because a lab must not change the machine.

A kubelet reads each sysctl and writes it if it differs; if the write fails, it does not start. So files with the wanted
values are mounted over them in the node. They do not affect pods.
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


def mount_wanted_values(node: Node) -> None:
    """Mount files with the wanted values over the sysctls, in the node only; raises CommandError."""
    for key, value in WANTED.items():
        file = f"{_FOLDER}/{key.replace('/', '.')}"
        node.write(file, f"{value}\n")
        node.run("mount", "--bind", file, f"/proc/sys/{key}")
