# SPDX-License-Identifier: Apache-2.0
"""The plugins that are measured: each has a /16 of its own for eth0, without masquerade."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hatch_build
from bench.namespaces import Pod, die_with_parent
from bench.spawn import Call

PODWIRE = Path(sys.executable).parent / "podwire"
FLOOR_SOURCE = Path(__file__).parent / "floor.c"
AGENT_START_SECONDS = 30.0
FLOOR, FLOOR_LEAN = "floor", "floor, lean"


@dataclass(frozen=True)
class Plugin:
    """A measured plugin: its binary, its network configuration, and its environment beside CNI's variables."""

    name: str
    program: Path
    config: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    answers_del: bool = True

    def call(self, verb: str, pod: Pod) -> Call:
        """The execution of one verb for one pod, as libcni would do it."""
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": pod.container_id,
            "CNI_NETNS": pod.path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=bench;K8S_POD_NAME=pod-{pod.serial}",
            "CNI_PATH": str(self.program.parent),
            "FLOOR_IP": f"10.193.{pod.serial >> 8 & 255}.{pod.serial & 255}",
            "FLOOR_GATEWAY": "10.193.255.254",
        }
        stdin = json.dumps({"cniVersion": "1.0.0", "name": self.name, **self.config}).encode()
        return Call(str(self.program), {**environment, **self.environment}, stdin)


def floors(folder: Path) -> list[Plugin]:
    """The floor: a C program with glibc that makes a veth with the kernel's defaults.

    The lean floor does what podwire does: musl, one queue for each end, no IPv6 address on the host's end.
    """
    made = []
    for name, command in ((FLOOR, ["cc"]), (FLOOR_LEAN, [*hatch_build.compiler(), "-DLEAN"])):
        program = folder / name.replace(", ", "-")
        hatch_build.compile_static([FLOOR_SOURCE], program, command)
        made.append(Plugin(name, program, {"type": "floor"}, answers_del=False))
    return made


def references(folder: Path, state: Path) -> list[Plugin]:
    """The reference plugins `bridge` and `ptp`, each with `host-local`, from `folder`."""
    made = []
    for name, second_byte, extra in (("bridge", 190, {"bridge": "cni-ref0", "isGateway": True}), ("ptp", 191, {})):
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": f"10.{second_byte}.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(state),
        }
        made.append(Plugin(name, folder / name, {"type": name, "ipMasq": False, "ipam": ipam, **extra}))
    return made


def podwires(bin_dir: Path, agent_socket: Path, name: str = "podwire", first_network: int = 194) -> list[Plugin]:
    """podwire in both modes with the agent, and routed without it; ranges from 10.`first_network`.0.0/16 on."""
    nowhere = agent_socket.with_name("no-agent.sock")
    routed = {"type": "podwire", "mode": "routed", "ipMasq": False}
    bridge = {
        "type": "podwire",
        "mode": "bridge",
        "bridge": f"cni-pw{first_network}",
        "isGateway": True,
        "ipMasq": False,
    }
    program = bin_dir / "podwire"
    return [
        Plugin(name, program, routed | _subnet(first_network), {"PODWIRE_SOCKET": str(agent_socket)}),
        Plugin(f"{name}-bridge", program, bridge | _subnet(first_network + 1), {"PODWIRE_SOCKET": str(agent_socket)}),
        Plugin(f"{name}-oneshot", program, routed | _subnet(first_network + 2), {"PODWIRE_SOCKET": str(nowhere)}),
    ]


def _subnet(network: int) -> dict[str, str]:
    return {"subnet": f"10.{network}.0.0/16"}


def install(folder: Path, podwire: Path = PODWIRE) -> Path:
    """`podwire install` into fresh folders; the bin directory."""
    bin_dir = folder / "bin"
    argv = [str(podwire), "install", "--bin-dir", str(bin_dir), "--conf-dir", str(folder / "conf")]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return bin_dir


@contextmanager
def agent(agent_socket: Path, log_path: Path, *arguments: str, podwire: Path = PODWIRE) -> Iterator[int]:
    """`podwire agent` serving in this process' network namespace; its process id."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [str(podwire), "agent", "--socket", str(agent_socket), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509  this process has one thread
        )
    try:
        until = time.monotonic() + AGENT_START_SECONDS
        while not _answers(agent_socket):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the agent does not serve: {log_path.read_text()[-2000:]}")
            time.sleep(0.01)
        yield process.pid
    finally:
        process.terminate()
        process.wait(AGENT_START_SECONDS)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True
