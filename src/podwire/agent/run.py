"""The agent's life: serve CNI calls, keep the host's part in order, end on SIGTERM."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

from podwire.agent.log import CallLog
from podwire.agent.server import Server, listen
from podwire.kernel.host import Shared

SOCKET = Path("/run/podwire/agent.sock")


def run(path: Path) -> None:
    """Serve `path` until SIGTERM or SIGINT; pods and their wiring stay. Raises SocketInUseError, OSError."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    log = CallLog()
    listener = listen(path)
    inode = path.stat().st_ino
    Server(listener, Shared(), log).start()
    log.note(f"serving {path}")
    ended.wait()
    # Only our own socket: a successor may have put its own there already.
    if path.exists() and path.stat().st_ino == inode:
        path.unlink()
    log.note("ended; pods stay as they are")
