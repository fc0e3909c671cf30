# SPDX-License-Identifier: Apache-2.0
"""Which Debian package has each program that podwire, its tests, benchmarks, documents and image call by name.

`tests/pure/test_programs.py` compares this table with what the code calls and with what the Makefile installs.
"""

from __future__ import annotations

_BY_PACKAGE = {
    "apt": ("apt-cache", "apt-config", "apt-get"),
    "bash": ("bash",),
    "busybox-static": ("busybox",),
    "ca-certificates": ("update-ca-certificates",),
    "conntrack": ("conntrack",),
    "containerd": ("containerd", "ctr"),
    "coreutils": (
        *("cat", "chown", "chroot", "cp", "dirname", "echo", "env", "expand", "kill", "link", "ln", "mkdir", "mv"),
        *("rm", "rmdir", "sleep", "stat", "tee", "test", "touch", "true"),
    ),
    "cpio": ("cpio",),
    "curl": ("curl",),
    "dash": ("sh",),
    "dpkg": ("dpkg", "dpkg-deb", "dpkg-query"),
    "findutils": ("find",),
    "gcc": ("cc", "gcc"),
    "git": ("git",),
    "grep": ("grep",),
    "hostname": ("hostname",),
    "iproute2": ("bridge", "ip", "ss", "tc"),
    "iptables": ("iptables",),
    "iputils-ping": ("ping",),
    "kmod": ("depmod",),
    "libc-bin": ("ldd",),
    "make": ("make",),
    "mmdebstrap": ("mmdebstrap",),
    "mount": ("mount", "umount"),
    "musl-tools": ("musl-gcc",),
    "nftables": ("nft",),
    "openssl": ("openssl",),
    "podman": ("podman",),
    "procps": ("free", "sysctl"),
    "python3-venv": ("python3",),
    "qemu-system-x86": ("qemu-system-x86_64",),
    "runc": ("runc",),
    "sed": ("sed",),
    "strace": ("strace",),
    "tcpdump": ("tcpdump",),
    "util-linux": ("nsenter", "pivot_root", "unshare"),
}
PACKAGES = {program: package for package, programs in _BY_PACKAGE.items() for program in programs}

BASE = frozenset(
    {
        *("apt", "bash", "coreutils", "dash", "dpkg", "findutils", "grep", "hostname", "libc-bin", "mount", "sed"),
        "util-linux",  # Debian's essential and required packages
        *("ca-certificates", "git", "make"),  # the README's own
    }
)
"""The packages of a bare machine: `make fresh` begins with no others."""
