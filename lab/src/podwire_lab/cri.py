# SPDX-License-Identifier: Apache-2.0
"""Runs pods through the container runtime interface, as a kubelet does: by `crictl` on a node's socket."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from podwire.record import Record
from podwire_lab import containerd, images
from podwire_lab.command import CommandResult, run
from podwire_lab.node import Node

CALL_TIMEOUT_SECONDS = 120


class Pod(Record):
    """A running pod: its sandbox, its container and the addresses that the CNI plugin returned."""

    name: str
    sandbox: str
    container: str
    addresses: tuple[str, ...]


def sandbox_config(name: str, namespace: str, ports: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """A PodSandboxConfig with its own network and without resource limits."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "attempt": 1},
        "hostname": name,
        "log_directory": f"/var/log/pods/{name}",
        "port_mappings": list(ports),
        "linux": {"cgroup_parent": "/pods", "security_context": {"namespace_options": {"pid": 1}}},
    }


def container_config(name: str, image: str, command: Sequence[str] = ()) -> dict[str, Any]:
    """A ContainerConfig; without a command the image's command runs."""
    config = {"metadata": {"name": name}, "image": {"image": image}, "log_path": f"{name}.log", "linux": {}}
    return {**config, "command": list(command)} if command else config


def addresses_in(status: dict[str, Any]) -> tuple[str, ...]:
    """The addresses in a PodSandboxStatus, as the runtime reports them to a kubelet."""
    network = status.get("network") or {}
    more = (additional["ip"] for additional in network.get("additionalIps") or [])
    return tuple(address for address in (network.get("ip"), *more) if address)


class Cri(Record):
    """The container runtime of a node, called by `crictl`. Several threads may use it."""

    node: Node
    crictl: Path
    namespace: str = "default"

    def call(self, *arguments: str, check: bool = True, timeout_seconds: int = CALL_TIMEOUT_SECONDS) -> CommandResult:
        """Run a crictl command; raises CommandError with the runtime's error."""
        endpoint = f"unix://{self.node.path(containerd.SOCKET)}"
        own = (
            "--config",
            str(self.node.path("/etc/crictl.yaml")),
            "--runtime-endpoint",
            endpoint,
            "--image-endpoint",
            endpoint,
            "--timeout",
            f"{timeout_seconds}s",
        )
        return run([str(self.crictl), *own, *arguments], check=check, timeout_seconds=timeout_seconds + 10)

    def query(self, command: str, *arguments: str) -> dict[str, Any]:
        """Run a crictl command that prints a JSON object."""
        answer = json.loads(self.call(command, "-o", "json", *arguments).output)
        return answer if isinstance(answer, dict) else {}

    @property
    def ready(self) -> bool:
        """Whether the runtime reports that it and its network are ready."""
        done = self.call("info", "-o", "json", check=False, timeout_seconds=5)
        if not done.ok:
            return False
        conditions = json.loads(done.output)["status"]["conditions"]
        wanted = ("RuntimeReady", "NetworkReady")
        return all(condition["status"] for condition in conditions if condition["type"] in wanted)

    def run_pod(
        self, name: str, image: str = images.BASH, command: Sequence[str] = (), ports: Sequence[dict[str, Any]] = ()
    ) -> Pod:
        """Create and start a pod with a container. After an error `remove_all` removes an incomplete pod."""
        container = self.begin_pod(name, image, command, ports)
        sandbox = self.sandbox_of(container)
        return Pod(name, sandbox, container, self.addresses(sandbox))

    def begin_pod(
        self, name: str, image: str, command: Sequence[str] = (), ports: Sequence[dict[str, Any]] = ()
    ) -> str:
        """Create and start a pod with a container; returns the container's ID."""
        # In the node's folder, which is removed with the node even if this process is killed.
        with tempfile.TemporaryDirectory(prefix="pod-", dir=self.node.host.folder) as folder:
            pod, container = Path(folder, "pod.json"), Path(folder, "container.json")
            pod.write_text(json.dumps(sandbox_config(name, self.namespace, ports)))
            container.write_text(json.dumps(container_config(name, image, command)))
            return self.call("run", "--no-pull", str(container), str(pod)).output.strip()

    def sandbox_of(self, container: str) -> str:
        """The ID of a container's pod sandbox."""
        return str(self.query("inspect", container)["info"]["sandboxID"])

    def addresses(self, sandbox: str) -> tuple[str, ...]:
        """The addresses of a pod as the runtime reports them to a kubelet."""
        return addresses_in(self.query("inspectp", sandbox)["status"])

    def inspect_pods(self, sandboxes: Sequence[str]) -> list[dict[str, Any]]:
        """The runtime's state of pods, in the order of `sandboxes`."""
        if not sandboxes:
            return []
        answer = json.loads(self.call("inspectp", "-o", "json", *sandboxes).output)
        return answer if isinstance(answer, list) else [answer]

    def sandboxes(self) -> list[str]:
        """The IDs of all pods, running or not."""
        return [str(item["id"]) for item in self.query("pods").get("items") or []]

    def exec(self, pod: Pod, *argv: str, check: bool = False, timeout_seconds: int = 60) -> CommandResult:
        """Run a command in a pod's container."""
        return self.call("exec", "--sync", pod.container, *argv, check=check, timeout_seconds=timeout_seconds)

    def stop(self, sandbox: str) -> CommandResult:
        """Stop a pod: its containers end and its network is removed."""
        return self.call("stopp", sandbox)

    def remove(self, sandbox: str) -> CommandResult:
        """Remove a pod that was stopped."""
        return self.call("rmp", sandbox)

    def remove_all(self) -> None:
        """Stop and remove every pod, by force."""
        if sandboxes := self.sandboxes():
            self.call("rmp", "--force", *sandboxes)
