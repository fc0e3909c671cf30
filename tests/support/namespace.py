# SPDX-License-Identifier: Apache-2.0
"""Real network namespaces for tests: made in milliseconds, read back with `ip -j`, certain to go away."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NAME_PREFIX = "pwt"
NETNS_FOLDER = Path("/run/netns")
COMMAND_TIMEOUT_SECONDS = 60.0
_OWN_NAME = re.compile(rf"{NAME_PREFIX}-(\d+)-[0-9a-f]+-\d+")
_serial = itertools.count()

Row = dict[str, Any]


def new_name() -> str:
    """A name that no other test process uses: prefix, this process' id, a random part, a counter."""
    return f"{NAME_PREFIX}-{os.getpid()}-{secrets.token_hex(3)}-{next(_serial)}"


def sweep_dead() -> list[str]:
    """Delete the namespaces that a dead test process (only a dead one) left; return their names."""
    swept = []
    for path in NETNS_FOLDER.glob(f"{NAME_PREFIX}-*"):
        owner = _OWN_NAME.fullmatch(path.name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            subprocess.run(["ip", "netns", "del", path.name], check=False, capture_output=True)
            swept.append(path.name)
    return swept


def wait_until(true: Callable[[], bool], timeout_seconds: float = 30.0) -> bool:
    """Poll until `true()` holds; False if it never did. The limit only guards against a hang."""
    until = time.monotonic() + timeout_seconds
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def left_after(read: Callable[[], list[str]], timeout_seconds: float = 30.0) -> list[str]:
    """Read until nothing is found; what the last reading found. With no time at all there is one reading."""
    until = time.monotonic() + timeout_seconds
    while (found := read()) and time.monotonic() < until:
        time.sleep(0.005)
    return found


class Namespace:
    """One network namespace, named under /run/netns so that `ip -n` finds it; `lo` is still down in it."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or new_name()
        subprocess.run(["ip", "netns", "add", self.name], check=True, timeout=COMMAND_TIMEOUT_SECONDS)

    @property
    def path(self) -> Path:
        """The file that CNI_NETNS names."""
        return NETNS_FOLDER / self.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.delete()

    def __repr__(self) -> str:
        return f"Namespace({self.name})"

    def delete(self) -> None:
        """Delete it; nothing happens if it is gone. Its devices die with it, a little later."""
        subprocess.run(
            ["ip", "netns", "del", self.name], check=False, capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS
        )

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(
        self, *argv: str, check: bool = True, stdin: str | None = None, timeout_seconds: float = COMMAND_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside and return it with its output; raises CalledProcessError if `check`."""
        done = subprocess.run(
            self.argv(*argv), input=stdin, text=True, capture_output=True, check=False, timeout=timeout_seconds
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        return done

    def popen(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a command inside; the caller ends it."""
        return subprocess.Popen(
            self.argv(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def ip(self, *arguments: str, check: bool = True) -> list[Row]:
        """`ip -j -n NAME ARGUMENTS`: the rows as iproute2 prints them; empty where it prints nothing."""
        done = subprocess.run(
            ["ip", "-j", "-n", self.name, *arguments],
            text=True,
            capture_output=True,
            check=False,
            timeout=COMMAND_TIMEOUT_SECONDS,
        )
        if check and done.returncode:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        rows = json.loads(done.stdout) if done.stdout.strip() else []
        return [row for row in rows if row]

    def links(self) -> dict[str, Row]:
        """Every link by name, with details (`ip -d link`)."""
        return {row["ifname"]: row for row in self.ip("-d", "link", "show")}

    def link(self, ifname: str) -> Row | None:
        """One link with details and addresses (`addr_info`), or None."""
        rows = self.ip("-d", "addr", "show", "dev", ifname, check=False)
        return rows[0] if rows else None

    def addresses(self, ifname: str | None = None) -> list[str]:
        """Addresses with prefix length, link-local IPv6 and loopback ones left out."""
        rows = self.ip("addr", "show", *(["dev", ifname] if ifname else []), check=False)
        return [
            f"{each['local']}/{each['prefixlen']}"
            for row in rows
            if row["ifname"] != "lo"
            for each in row.get("addr_info", [])
            if not (each["family"] == "inet6" and each["scope"] == "link")
        ]

    def routes(self, family: int) -> list[Row]:
        """The main table's routes of family 4 or 6, those to link-local and multicast left out."""
        rows = self.ip(f"-{family}", "route", "show")
        return [row for row in rows if not row["dst"].startswith(("fe80:", "ff00:"))]

    def sysctl(self, key: str) -> str:
        """Read a sysctl (`net.ipv4.ip_forward`) inside."""
        return self.run("sysctl", "-n", key).stdout.strip()

    def pings(self, address: str, deadline_seconds: int = 10) -> bool:
        """Whether one echo reply comes back; asks again each 200 ms until the deadline."""
        done = self.run("ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", str(deadline_seconds), address, check=False)
        return done.returncode == 0

    def ruleset(self) -> str:
        """What `nft list ruleset` prints."""
        return self.run("nft", "list", "ruleset").stdout


class Host(Namespace):
    """A namespace with `lo` up and nothing else: the node, or a sandbox that a runtime has prepared."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True, timeout=COMMAND_TIMEOUT_SECONDS)
