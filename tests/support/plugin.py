# SPDX-License-Identifier: Apache-2.0
"""A CNI plugin as a runtime sees it: a program that is executed with an environment and standard input."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.namespace import Namespace

TIMEOUT_SECONDS = 120.0
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

Config = Mapping[str, Any]
Text = str | bytes


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


@dataclass(frozen=True)
class Outcome:
    """What one execution left: exit status (negative: ended by that signal), output, wall time."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as exactly one JSON object in UTF-8; raises ValueError for anything else."""
        value = json.loads(self.stdout.decode("utf-8"), parse_constant=_refuse_constant)
        if not isinstance(value, dict):
            raise ValueError(f"not a JSON object: {self.stdout!r}")
        return value

    @property
    def ok(self) -> bool:
        """Exit status 0."""
        return self.status == 0

    @property
    def code(self) -> int | None:
        """The error code on standard output; None where there is no error object."""
        try:
            value = self.document.get("code")
        except ValueError:
            return None
        return value if isinstance(value, int) else None

    @property
    def message(self) -> str:
        """`msg` and `details` of the error, in one string."""
        try:
            document = self.document
        except ValueError:
            return ""
        return f"{document.get('msg', '')} {document.get('details', '')}"

    def __str__(self) -> str:
        return (
            f"exit {self.status}{' TIMED OUT' * self.timed_out}\nstdout: {self.stdout[:2000]!r}\n"
            f"stderr: {self.stderr[-2000:]!r}"
        )


@dataclass(frozen=True)
class Plugin:
    """A plugin's binary, the namespace it is executed in, and what its environment always holds."""

    binary: Path
    host: Namespace
    cni_path: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(
        self, variables: Mapping[Any, Text], stdin: bytes = b"", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> Outcome:
        """Execute it with exactly PATH, `environment` and `variables`; never raises for what it does."""
        everything: dict[Any, Text] = {"PATH": SEARCH_PATH, **self.environment, **variables}
        begin = time.monotonic()
        with subprocess.Popen(
            self.host.argv(str(self.binary)),
            env=everything,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            timed_out = False
            try:
                stdout, stderr = process.communicate(stdin, timeout=timeout_seconds)
            except subprocess.TimeoutExpired:
                timed_out = True
                process.send_signal(signal.SIGKILL)
                stdout, stderr = process.communicate()
        return Outcome(process.returncode, stdout, stderr, time.monotonic() - begin, timed_out)

    def start(self, variables: Mapping[Any, Text], stdin: bytes) -> subprocess.Popen[bytes]:
        """Start it and hand over all of standard input; for tests that end or watch the process."""
        everything: dict[Any, Text] = {"PATH": SEARCH_PATH, **self.environment, **variables}
        process = subprocess.Popen(
            self.host.argv(str(self.binary)),
            env=everything,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        return process

    def variables(
        self,
        command: str,
        container: Text = "",
        netns: Text | Path = "",
        ifname: Text = "",
        args: Text = "",
        **more: Text,
    ) -> dict[str, Text]:
        """The environment that libcni makes for one command; `more` adds or replaces variables."""
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": str(netns) if isinstance(netns, Path) else netns,
            "CNI_IFNAME": ifname,
            "CNI_ARGS": args,
            "CNI_PATH": self.cni_path or str(self.binary.parent),
            **more,
        }

    def call(
        self,
        command: str,
        config: Config | bytes,
        container: Text = "",
        netns: Text | Path = "",
        *,
        ifname: Text = "",
        args: Text = "",
        **more: Text,
    ) -> Outcome:
        """One command; `config` is encoded unless it is bytes already."""
        stdin = config if isinstance(config, bytes) else json.dumps(config).encode()
        return self.run(self.variables(command, container, netns, ifname, args, **more), stdin)

    def cni_add(
        self,
        config: Config | bytes,
        container: Text,
        netns: Text | Path,
        ifname: Text = "eth0",
        args: Text = "",
        **more: Text,
    ) -> Outcome:
        """ADD."""
        return self.call("ADD", config, container, netns, ifname=ifname, args=args, **more)

    def cni_del(
        self,
        config: Config | bytes,
        container: Text,
        netns: Text | Path = "",
        ifname: Text = "eth0",
        args: Text = "",
        **more: Text,
    ) -> Outcome:
        """DEL; an empty `netns` is what containerd sends on a forced removal."""
        return self.call("DEL", config, container, netns, ifname=ifname, args=args, **more)

    def cni_check(
        self,
        config: Config | bytes,
        container: Text,
        netns: Text | Path,
        ifname: Text = "eth0",
        args: Text = "",
        **more: Text,
    ) -> Outcome:
        """CHECK; `config` carries the prevResult."""
        return self.call("CHECK", config, container, netns, ifname=ifname, args=args, **more)

    def cni_gc(self, config: Config | bytes, **more: Text) -> Outcome:
        """GC; `config` carries `cni.dev/valid-attachments`."""
        return self.call("GC", config, **more)

    def cni_status(self, config: Config | bytes, **more: Text) -> Outcome:
        """STATUS."""
        return self.call("STATUS", config, **more)

    def cni_version(self, stdin: bytes = b'{"cniVersion": "1.1.0"}', **more: Text) -> Outcome:
        """VERSION, with nothing in the environment but CNI_COMMAND."""
        return self.run({"CNI_COMMAND": "VERSION", **more}, stdin)
