# SPDX-License-Identifier: Apache-2.0
"""Boots a kernel under qemu without KVM, runs pytest inside, and tells what came of it.

Times inside mean nothing (a guest is some 10 to 20 times slower than the machine); behaviour does.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.kernels import pieces

MEMORY_MIB = 3072
TEST_TIMEOUT_SECONDS = 1800
"""For one test in the guest."""
GUEST_TIMEOUT_SECONDS = 3 * 3600
"""For all of it. Both only end what hangs."""

_TERMINAL = re.compile(r"\r|\x1b(\[[0-9;?]*[a-zA-Z]|c)")


@dataclass(frozen=True)
class Outcome:
    """What a guest came to: counts from its JUnit report, pytest's exit status, and the console's text."""

    release: str
    console: str
    status: int | None
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether tests were run, and all of them passed or were skipped."""
        return self.status == 0 and self.passed > 0 and not self.failed

    def summary(self) -> str:
        """One line: the kernel and the counts."""
        counts = f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        return f"Linux {self.release}: {counts}; pytest's status {self.status}"

    def story(self) -> str:
        """The failures, then the end of the console."""
        return "\n".join([self.summary(), *self.failed, "--- the guest's console ends with:", self.console[-8000:]])


def boot(series: str, arguments: Sequence[str], *, echo: bool = False) -> Outcome:
    """Run pytest with `arguments` on the newest kernel of a series; `echo` copies its console to stdout."""
    kernel = pieces.kernel(series)
    with tempfile.TemporaryDirectory(prefix="podwire-guest-") as temporary:
        folder = Path(temporary)
        pieces.initramfs(kernel, folder / "initrd", script=_script(arguments))
        console = _qemu(kernel.folder / "vmlinuz", folder, echo=echo)
        report = folder / "report"
        return _outcome(kernel.release, console, report.read_bytes() if report.exists() else b"")


def _script(arguments: Sequence[str]) -> str:
    """The shell line that the guest's init runs."""
    options = ["-v", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_SECONDS}", "--junitxml=/results/junit.xml"]
    return shlex.join([".venv/bin/python", "-m", "pytest", *options, *arguments]) + "\n"


def _qemu(image: Path, folder: Path, *, echo: bool) -> str:
    """Run the guest until it switches itself off; its console's text. It is killed when its time is over."""
    argv = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
    argv += ["-m", str(MEMORY_MIB), "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio", "-monitor", "none"]
    argv += ["-kernel", str(image), "-initrd", str(folder / "initrd")]
    argv += ["-append", "console=ttyS0 quiet panic=-1 rdinit=/init mitigations=off"]
    argv += ["-device", "virtio-serial-pci", "-chardev", f"file,id=report,path={folder}/report"]
    argv += ["-device", "virtserialport,chardev=report,name=report"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT) as guest:
        alarm = threading.Timer(GUEST_TIMEOUT_SECONDS, guest.kill)
        alarm.start()
        try:
            return _listen(guest, echo)
        finally:
            alarm.cancel()
            guest.kill()


def _listen(guest: subprocess.Popen[bytes], echo: bool) -> str:
    """Collect the console; where it is copied out, with the seconds after which the guest said something."""
    assert guest.stdout is not None
    text, start = io.StringIO(), time.monotonic()
    for line in guest.stdout:
        words = _TERMINAL.sub("", line.decode(errors="replace"))
        text.write(words)
        if echo:
            sys.stdout.write(f"{time.monotonic() - start:6.1f} {words}")
            sys.stdout.flush()
    return text.getvalue()


def _outcome(release: str, console: str, report: bytes) -> Outcome:
    """Read the archive that the guest sent; an absent one means that it never got so far."""
    status, passed, failed, skipped = None, 0, [], []
    try:
        with tarfile.open(fileobj=io.BytesIO(report)) as archive:
            files = {Path(m.name).name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        if (said := files.get("status")) is not None:
            status = int(said.read())
        junit = files.get("junit.xml")
    except (tarfile.TarError, ValueError):
        junit = None
    for case in ElementTree.parse(junit).iter("testcase") if junit else ():  # noqa: S314  our own guest wrote it
        name = f"{case.get('classname')}::{case.get('name')}"
        wrong = [part for part in case if part.tag in ("failure", "error")]
        if wrong:
            words = [str(part.text or part.get("message")) for part in wrong]
            failed.append("\n".join([f"FAILED {name}", *words]))
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed += 1
    return Outcome(release, console, status, passed, tuple(failed), tuple(skipped))
