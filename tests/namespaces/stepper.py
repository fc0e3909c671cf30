# SPDX-License-Identifier: Apache-2.0
"""Kills a process before its N-th system call that can have an effect: fault injection by ptrace(2).

Between two system calls a process changes nothing outside itself, so that dying before each of them in turn
is dying at every step there is. strace's injection counts for each thread by itself; here the count runs over
all threads, so that no step hides behind an earlier one of another thread. The product has no hooks for it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# ptrace(2); the numbers are those of linux/ptrace.h.
TRACEME, SYSCALL, DETACH, SETOPTIONS, SEIZE, INTERRUPT = 0, 24, 17, 0x4200, 0x4206, 0x4207
GET_SYSCALL_INFO = 0x420E
CONT = 7
SYSGOOD, FORK, VFORK, CLONE, EXEC, SECCOMP, EXITKILL = 1, 2, 4, 8, 16, 128, 1 << 20
OPTIONS = SYSGOOD | FORK | VFORK | CLONE | EXEC | SECCOMP | EXITKILL
EVENT_EXEC, EVENT_SECCOMP = 4, 7
SYSCALL_STOP = signal.SIGTRAP | 0x80
INFO = struct.Struct("=B3xIQQQ6Q")  # struct ptrace_syscall_info: op, arch, ip, sp, nr, args
INFO_ENTRY, INFO_SECCOMP = 1, 3
WALL = 0x40000000  # waitpid(2): threads too

STEPS = {  # x86_64's numbers of the system calls that can change something, or hand something over
    1: "write", 18: "pwrite64", 20: "writev", 16: "ioctl", 40: "sendfile", 42: "connect", 43: "accept",
    44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 48: "shutdown", 49: "bind", 50: "listen",
    41: "socket", 54: "setsockopt", 56: "clone", 57: "fork", 58: "vfork", 74: "fsync",
    77: "ftruncate", 82: "rename", 83: "mkdir", 86: "link", 87: "unlink", 165: "mount", 166: "umount2",
    231: "exit_group", 257: "openat", 263: "unlinkat", 264: "renameat", 272: "unshare", 288: "accept4",
    299: "recvmmsg", 307: "sendmmsg", 308: "setns", 316: "renameat2", 319: "memfd_create", 435: "clone3",
}  # fmt: skip
TCGETS = 0x5401  # Python asks it of every file it opens, to no effect

UNNOTICED = frozenset(
    {"accept", "accept4", "bind", "clone", "clone3", "fork", "ioctl", "listen", "memfd_create", "recvfrom"}
    | {"recvmmsg", "recvmsg", "setsockopt", "socket", "vfork"}
)
"""Steps that change nothing for anybody else: a kill before one finds the world as before the next one."""

# seccomp(2): stop the tracee at these calls only; a traced Python otherwise stops some 2,000 times to begin.
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
_RULES = [(0x20, 0, 0, 0)]  # ld [nr]
_RULES += [(0x15, len(STEPS) - place, 0, number) for place, number in enumerate(STEPS)]  # jeq NUMBER, trace
_RULES += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FF00000)]  # ret ALLOW; trace: ret TRACE
_FILTER = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *rule) for rule in _RULES))
_PROGRAM = ctypes.create_string_buffer(struct.pack("HL", len(_RULES), ctypes.addressof(_FILTER)))

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> bool:
    """One ptrace call; False where the thread has died meanwhile."""
    return bool(_libc.ptrace(request, thread, address, data) != -1)


@dataclass(frozen=True)
class Run:
    """One execution: the program's exit status (negative: its signal), its output, and how far it came."""

    status: int
    stdout: bytes
    stderr: bytes
    steps: tuple[str, ...]
    killed: bool
    seconds: float

    def __str__(self) -> str:
        if not self.killed:
            text = f"not killed in {len(self.steps)} steps; exit {self.status}"
            return f"{text}, {self.stdout!r} {self.stderr!r}"
        before = ", ".join(self.steps[-6:])
        return f"killed before step {len(self.steps)} (… {before}); exit {self.status}, {self.stdout!r}"


def idle(pid: int) -> bool:
    """Whether every thread of a process sleeps, waiting for something from outside; True when it is dead."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return all((task / "stat").read_text().rsplit(") ", 1)[1][0] in "SZX" for task in tasks)
    except (FileNotFoundError, ProcessLookupError):
        return not Path(f"/proc/{pid}").exists()


@dataclass
class Stepper:
    """Executes a program and kills it, or the agent that serves it, before step `kill_before` (from 1)."""

    kill_before: int
    steps: list[str] = field(default_factory=list)
    killed: bool = False
    _filtered: bool = False
    _counting: bool = False
    _threads: set[int] = field(default_factory=set)
    _program: int = 0
    _last: tuple[int, ...] = ()
    _status: int | None = None

    def run(self, argv: list[str], environment: Mapping[str, str], stdin: bytes, agent: int | None = None) -> Run:
        """Execute `argv` (`nsenter … program`); trace the program, or the process `agent` if that is given.

        Returns when the program has ended and, if the agent is traced, that one has nothing left to do.
        """
        if platform.machine() != "x86_64":
            raise NotImplementedError("the table of system calls is x86_64's")
        file, begin = tempfile.TemporaryFile, time.monotonic()
        with file() as given, file() as out, file() as err:
            given.write(stdin)
            given.seek(0)
            self._filtered = agent is None
            if agent is not None:
                self._attach(agent)
            process = subprocess.Popen(
                argv,
                env=dict(environment),
                stdin=given,
                stdout=out,
                stderr=err,
                preexec_fn=None if agent is not None else _trace_me,  # noqa: PLW1509  one thread only
            )
            self._program = process.pid
            try:
                self._follow(agent)
            finally:
                if self._status is None:
                    process.kill()
                self._let_go()
            process.returncode = self._status  # reaped here, not by Popen
            out.seek(0)
            err.seek(0)
            assert self._status is not None
            return Run(self._status, out.read(), err.read(), tuple(self.steps), self.killed, time.monotonic() - begin)

    def _attach(self, pid: int) -> None:
        """Take hold of all threads of a running process; its next step is the first."""
        self._counting = True
        for task in Path(f"/proc/{pid}/task").iterdir():
            thread = int(task.name)
            if not _ptrace(SEIZE, thread, 0, OPTIONS & ~EXITKILL):
                raise OSError(ctypes.get_errno(), f"cannot trace thread {thread}")
            _ptrace(INTERRUPT, thread)
            self._threads.add(thread)

    def _follow(self, agent: int | None) -> None:
        """Let the threads run from stop to stop until the program has ended and the agent is idle."""
        while self._status is None or (agent is not None and not (self.killed or self._settled(agent))):
            thread, status = os.waitpid(-1, WALL | (os.WNOHANG if self._status is not None else 0))
            if thread:
                self._take(thread, status)
        while self.killed and self._threads:
            self._take(*os.waitpid(-1, WALL))

    def _settled(self, agent: int) -> bool:
        """Whether the agent sleeps, and still does a moment later."""
        if not idle(agent):
            return False
        time.sleep(0.001)
        return idle(agent)

    def _take(self, thread: int, status: int) -> None:
        """Deal with one report of waitpid."""
        if not os.WIFSTOPPED(status):
            self._threads.discard(thread)
            if thread == self._program:
                self._status = os.waitstatus_to_exitcode(status)
            return
        if thread == self._program and thread not in self._threads:
            _ptrace(SETOPTIONS, thread, 0, OPTIONS)
        self._threads.add(thread)
        stopped, event = os.WSTOPSIG(status), status >> 16
        if event == EVENT_EXEC:
            self._counting = True
        elif event == EVENT_SECCOMP or stopped == SYSCALL_STOP:
            self._count(thread)
        delivered = 0 if event or stopped in (SYSCALL_STOP, signal.SIGTRAP, signal.SIGSTOP) else stopped
        _ptrace(CONT if self._filtered else SYSCALL, thread, 0, delivered)

    def _count(self, thread: int) -> None:
        """Count a stop that is a step's beginning, and kill there if it is the one."""
        if self.killed or not self._counting:
            return
        buffer = ctypes.create_string_buffer(INFO.size)
        if not _ptrace(GET_SYSCALL_INFO, thread, INFO.size, ctypes.addressof(buffer)):
            return
        operation, _, _, _, number, *arguments = whole = INFO.unpack(buffer.raw)
        name = STEPS.get(number)
        if operation not in (INFO_ENTRY, INFO_SECCOMP) or name is None:
            return
        if name == "openat" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if name == "ioctl" and arguments[1] == TCGETS:
            return
        again, self._last = whole == self._last, whole
        if again and name == "write":
            return  # the kernel restarts the write of a sysctl, hundreds of times, while another holds its lock
        self.steps.append(name)
        if len(self.steps) == self.kill_before:
            self.killed = True
            os.kill(thread, signal.SIGKILL)

    def _let_go(self) -> None:
        """Detach from what still lives."""
        for thread in self._threads:
            _ptrace(INTERRUPT, thread)
        while self._threads:
            thread, status = os.waitpid(-1, WALL)
            if os.WIFSTOPPED(status):
                _ptrace(DETACH, thread)
            elif thread == self._program:
                self._status = os.waitstatus_to_exitcode(status)
            self._threads.discard(thread)


def _trace_me() -> None:
    _ptrace(TRACEME, 0)
    _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(_PROGRAM))
