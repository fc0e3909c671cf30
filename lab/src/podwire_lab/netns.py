# SPDX-License-Identifier: Apache-2.0
"""The network namespaces of a lab, with names under /run/netns, so that `ip -n` finds them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from podwire.netlink import namespaces as namespace
from podwire_lab.command import run
from podwire_lab.lab_host import NETNS_FOLDER, LabHost, read_netns


def add(host: LabHost) -> None:
    """Create a host's network namespace with `lo` up; raises CommandError if it exists.

    Not by `ip netns add`: on a machine without named namespaces this leaves a mount of /run/netns.
    """
    while True:
        NETNS_FOLDER.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another lab has just removed the folder
            host.netns_path.open("x").close()
            break
    run(["unshare", f"--net={host.netns_path}", "ip", "link", "set", "lo", "up"])


def delete(host: LabHost) -> None:
    """Remove a namespace's name, also if an interrupted `add` left it without a namespace."""
    if host.netns_path.exists():
        run(["umount", "--lazy", str(host.netns_path)], check=False)
        host.netns_path.unlink(missing_ok=True)
    with suppress(OSError):  # other namespaces exist, or the folder is a mount of another program
        NETNS_FOLDER.rmdir()


def read_hosts() -> set[LabHost]:
    """The hosts of all labs that have a network namespace."""
    names = (path.name for path in NETNS_FOLDER.iterdir()) if NETNS_FOLDER.is_dir() else ()
    return {host for name in names if (host := read_netns(name))}


def argv(host: LabHost, *command: str) -> list[str]:
    """The command line that runs a command in the host's network namespace."""
    return ["nsenter", f"--net={host.netns_path}", "--", *command]


def ip(host: LabHost, lines: Iterable[str]) -> None:
    """Run a batch of `ip` commands (lines without the word `ip`); raises CommandError at the first failure."""
    run(["ip", "-n", host.netns, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def sysctl(host: LabHost, key: str, value: str) -> None:
    """Set a sysctl (`net/ipv4/ip_forward`) in the host's namespace; raises CommandError."""
    run(argv(host, "tee", f"/proc/sys/{key}"), stdin=value)


def addresses(host: LabHost) -> list[str]:
    """The global addresses of the host's devices."""
    rows = json.loads(run(["ip", "-n", host.netns, "-json", "address", "show", "scope", "global"]).output or "[]")
    return [info["local"] for row in rows for info in row.get("addr_info", []) if "local" in info]


def answers(host: LabHost, address: str, port: int) -> bool:
    """Whether a TCP connection from the host is accepted within a second."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket_in(host.netns_path, family) as caller, suppress(OSError):
        caller.settimeout(1)
        caller.connect((address, port))
        return True
    return False


def socket_in(netns: Path, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket in a network namespace; this process stays in its own."""
    there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    own = namespace.open_own()
    try:
        namespace.setns(there)
        try:
            return socket.socket(family, socket.SOCK_STREAM)
        finally:
            namespace.return_to(own)
    finally:
        os.close(there)
        os.close(own)
