# SPDX-License-Identifier: Apache-2.0
"""Calls that are held up keep nobody else waiting: their threads are replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.namespaces.ground import configuration
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import SEARCH_PATH, Plugin

HELD_UP = 5
AT_ONCE_SECONDS = 1.0


def test_status_does_not_wait_for_ipam_plugins_that_hang(host: Host, bin_dir: Path, tmp_path: Path) -> None:
    """More of them than threads that usually serve."""
    hanging, begun = tmp_path / "hanging", tmp_path / "begun"
    hanging.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = ADD ] || exit 0\necho $$ >> {begun}\nexec sleep 60\n")
    hanging.chmod(0o755)
    begun.touch()
    config = configuration("bridge", (4,), ipam={"type": "hanging"})
    del config["subnet"]
    agent = Agent(host, tmp_path)
    plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})
    waiting: list[subprocess.Popen[bytes]] = []
    with Namespace() as pod:
        try:
            for number in range(HELD_UP):
                variables = plugin.variables("ADD", f"c{number}", pod.path, f"eth{number}", CNI_PATH=str(tmp_path))
                environment = {"PATH": SEARCH_PATH, **plugin.environment, **{k: str(v) for k, v in variables.items()}}
                argv = host.argv(str(plugin.binary))
                call = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
                assert call.stdin is not None
                call.stdin.write(json.dumps(config).encode())
                call.stdin.close()
                waiting.append(call)
            assert wait_until(lambda: len(begun.read_text().split()) == HELD_UP)
            asked = time.monotonic()
            assert plugin.cni_status(configuration("routed", (4,))).ok
            assert plugin.cni_add(configuration("routed", (4,)), "other", pod.path).ok
            assert time.monotonic() - asked < AT_ONCE_SECONDS
        finally:
            for pid in map(int, begun.read_text().split()):
                os.kill(pid, signal.SIGKILL)
            for call in waiting:
                call.wait()
            agent.stop()
