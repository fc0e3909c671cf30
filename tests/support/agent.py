# SPDX-License-Identifier: Apache-2.0
"""podwire as tests start it: the installed bin directory and the agent in a host namespace."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.namespace import Namespace

PODWIRE = Path(sys.executable).parent / "podwire"
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0


def install(bin_dir: Path, conf_dir: Path) -> Path:
    """`podwire install` into the two folders; returns the bin directory. Raises if that fails."""
    done = subprocess.run(
        [str(PODWIRE), "install", "--bin-dir", str(bin_dir), "--conf-dir", str(conf_dir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise RuntimeError(f"podwire install failed ({done.returncode}): {done.stdout}{done.stderr}")
    return bin_dir


class Agent:
    """`podwire agent` in a host namespace, from its start until `stop()`."""

    def __init__(self, host: Namespace, folder: Path | None = None, arguments: Sequence[str] = ()) -> None:
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="pwt-agent-")
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self.socket = self.folder / "agent.sock"
        self.log = self.folder / "agent.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                host.argv(str(PODWIRE), "agent", "--socket", str(self.socket), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_until_it_serves()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The agent's process id (nsenter has become the agent by exec)."""
        return self.process.pid

    def _wait_until_it_serves(self) -> None:
        until = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > until:
                log = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the agent does not serve: {log}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            try:
                client.connect(str(self.socket))
            except OSError:
                return False
            return True

    def kill(self) -> None:
        """SIGKILL, as a crash would end it; the socket's file stays behind."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, then kill it; the folder goes too. May be called twice."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
