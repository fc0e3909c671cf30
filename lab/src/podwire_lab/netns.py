"""The network namespaces of a lab, by their names under /run/netns, so that `ip -n` finds them too."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from podwire.netlink import namespaces as namespace
from podwire_lab.command import run
from podwire_lab.place import NETNS_FOLDER, Place, read_netns


def add(place: Place) -> None:
    """Make the place's network namespace with `lo` up; raises CommandError if it is there already.

    Not by `ip netns add`: on a machine that never had a named namespace this leaves a mount of /run/netns behind.
    """
    while True:
        NETNS_FOLDER.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # another lab has just removed the folder
            place.netns_path.open("x").close()
            break
    run(["unshare", f"--net={place.netns_path}", "ip", "link", "set", "lo", "up"])


def delete(place: Place) -> None:
    """Remove its name (also one that an interrupted `add` left without a namespace)."""
    if place.netns_path.exists():
        run(["umount", "--lazy", str(place.netns_path)], check=False)
        place.netns_path.unlink(missing_ok=True)
    with suppress(OSError):  # other namespaces are there, or it is a mount of somebody else's
        NETNS_FOLDER.rmdir()


def read_places() -> set[Place]:
    """The places of all labs that have a network namespace."""
    names = (path.name for path in NETNS_FOLDER.iterdir()) if NETNS_FOLDER.is_dir() else ()
    return {place for name in names if (place := read_netns(name))}


def argv(place: Place, *command: str) -> list[str]:
    """The command line that runs a command in its network alone."""
    return ["nsenter", f"--net={place.netns_path}", "--", *command]


def ip(place: Place, lines: Iterable[str]) -> None:
    """Run many `ip` commands (each without the word `ip`) there at once; raises CommandError at the first failure."""
    run(["ip", "-n", place.netns, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def sysctl(place: Place, key: str, value: str) -> None:
    """Set a sysctl (`net/ipv4/ip_forward`) there; raises CommandError."""
    run(argv(place, "tee", f"/proc/sys/{key}"), stdin=value)


def addresses(place: Place) -> list[str]:
    """The global addresses of its devices."""
    rows = json.loads(run(["ip", "-n", place.netns, "-json", "address", "show", "scope", "global"]).output or "[]")
    return [each["local"] for row in rows for each in row.get("addr_info", []) if "local" in each]


def answers(place: Place, address: str, port: int) -> bool:
    """Whether a TCP connection from there is accepted within a second."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket_in(place.netns_path, family) as caller, suppress(OSError):
        caller.settimeout(1)
        caller.connect((address, port))
        return True
    return False


def socket_in(netns: Path, family: socket.AddressFamily) -> socket.socket:
    """A TCP socket that lives in a network namespace; this process stays where it is."""
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
