# SPDX-License-Identifier: Apache-2.0
"""What the machine shows of labs, and all that a lab could have changed on it: to be compared before and after."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from podwire_lab import cgroup
from podwire_lab.lab_host import FOLDER, NETNS_FOLDER

NETWORK = (
    ("ip", "-o", "link"),
    ("ip", "-o", "address"),
    ("ip", "route", "show", "table", "all"),
    ("ip", "-6", "route", "show", "table", "all"),
    ("ip", "rule"),
    ("ip", "-6", "rule"),
    ("ip", "neigh", "show", "nud", "permanent"),
    ("nft", "list", "ruleset"),
    ("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
)
OTHER_TESTS = "pwt-"  # namespaces and folders of tests that run at the same time


def of_lab(lab: str) -> list[str]:
    """All that the machine shows of a lab: processes, mounts, control groups, namespaces, folders."""
    found = [f"mount {line}" for line in Path("/proc/self/mountinfo").read_text().splitlines() if _names(line, lab)]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            named = any(word == lab or f".{lab}." in word or f"/{lab}/" in word for word in words)
            if named or f"/{lab}/" in (process / "cgroup").read_text():
                found.append(f"process {process.name} {words}")
    found += [f"cgroup {host}" for host in cgroup.read_hosts() if host.lab == lab]
    found += [f"netns {path}" for path in NETNS_FOLDER.glob(f"*.{lab}.*")]
    found += [f"folder {path}" for path in FOLDER.glob(lab)]
    return found


def _names(line: str, lab: str) -> bool:
    return f"/{lab}/" in line or f".{lab}." in line


def of_machine() -> frozenset[str]:
    """The machine's own network, mounts, control groups and folders, as lines."""
    return frozenset(_lines())


def _lines() -> Iterator[str]:
    for argv in NETWORK:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        yield from (f"{' '.join(argv)}: {line}" for line in done.stdout.splitlines())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if OTHER_TESTS not in line:
            yield f"mount {line}"
    for tree in cgroup.read_hierarchies():
        for group in tree.base.rglob("*/"):  # beside it are those of whoever else is here
            if OTHER_TESTS not in str(group):
                yield f"cgroup {group}"
    for folder in ("/run", "/run/netns", "/etc", "/etc/cni", "/opt", "/var/lib", "/var/run"):
        if Path(folder).is_dir():
            yield from (f"file {path}" for path in Path(folder).iterdir() if OTHER_TESTS not in path.name)
