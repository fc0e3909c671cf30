# SPDX-License-Identifier: Apache-2.0
"""The agent's log as a supervisor reads it, or does not."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from podwire.agent import protocol
from tests.namespaces.ground import configuration
from tests.support.agent import PODWIRE, Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

MANY = 6000
"""Lines: more than a pipe (64 KiB) and the agent's queue hold together."""


def refused(path: Path, environment: Mapping[str, str]) -> bool:
    """Ask as the shim does, only quicker; is there a refusal?"""
    block = b"".join(f"{key}={value}\0".encode() for key, value in environment.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        connection.send(protocol.HEADER.pack(protocol.REQUEST_MAGIC, 0, len(block), 0) + block)
        _, _, status, _ = protocol.HEADER.unpack_from(connection.recv(protocol.INLINE_BYTES))
    return int(status) == 1


def test_a_json_log_has_one_object_a_line(host: Host, bin_dir: Path, tmp_path: Path, pod: Namespace) -> None:
    with Agent(host, tmp_path, ["--log-format", "json"]) as agent:
        plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})
        config = configuration("routed", (4,))
        name = 'web", "status": 9\npodwire: forged'
        arguments = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"
        assert plugin.cni_add(config, "one", pod.path, args=arguments).ok
        assert plugin.cni_add(config, "one", pod.path).code == 101
        assert plugin.cni_del(config, "one", pod.path).ok
        assert wait_until(lambda: '"DEL"' in agent.log.read_text())
    lines = [json.loads(line) for line in agent.log.read_text().splitlines()]
    assert lines and all({"time", "level", "msg"} <= set(line) for line in lines)
    added, refused, deleted = [line for line in lines if "verb" in line]
    assert added["status"] == 0 and added["pod_name"] == name.replace("\n", " ")
    assert added["steps"]["lease"] > 0 and sum(added["steps"].values()) <= added["ms"]
    assert (refused["status"], refused["code"], refused["level"]) == (1, 101, "error")
    assert deleted["steps"]["device"] > 0
    assert lines[-1]["msg"].startswith("ended"), "what is queued at the end is written"


def test_a_supervisor_that_does_not_read_holds_no_call_up(
    host: Host, bin_dir: Path, tmp_path: Path, pod: Namespace
) -> None:
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(
        host.argv(str(PODWIRE), "agent", "--socket", str(path)), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        assert wait_until(path.exists)
        for number in range(MANY):
            assert refused(path, {"CNI_COMMAND": "NOTHING", "CNI_CONTAINERID": f"{number:0100}"})
        plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(path)})
        assert plugin.cni_add(configuration("routed", (4,)), "one", pod.path).ok
        assert plugin.cni_del(configuration("routed", (4,)), "one", pod.path).ok
        process.terminate()
        assert process.wait(60) == 0, "nor does it keep the agent from ending"
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()
