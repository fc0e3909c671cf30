"""Pods by the container runtime interface, as a kubelet makes them, driven by `crictl` inside a node."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podwire.lab import containerd, images
from podwire.lab.command import Done
from podwire.lab.node import Node

CALL_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Pod:
    """A running pod: its sandbox, its one container, and the addresses that the runtime was told by the plug-in."""

    name: str
    sandbox: str
    container: str
    addresses: tuple[str, ...]


def sandbox_config(name: str, namespace: str, ports: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    """A PodSandboxConfig: own network, no resource limits."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": str(uuid.uuid4()), "attempt": 1},
        "hostname": name,
        "log_directory": f"/var/log/pods/{name}",
        "port_mappings": list(ports),
        "linux": {"cgroup_parent": "/pods", "security_context": {"namespace_options": {"pid": 1}}},
    }


def container_config(name: str, image: str, command: Sequence[str] = ()) -> dict[str, Any]:
    """A ContainerConfig; without a command the image's own runs."""
    config = {
        "metadata": {"name": name},
        "image": {"image": image},
        "log_path": f"{name}.log",
        "linux": {},
    }
    return {**config, "command": list(command)} if command else config


@dataclass(frozen=True)
class Cri:
    """The runtime of one node, asked through `crictl`. Several threads may use it at once."""

    node: Node
    crictl: Path
    endpoint: str = f"unix://{containerd.SOCKET}"
    namespace: str = "default"
    folder: str = field(default="/run/pods", repr=False)  # of the node

    def call(self, *arguments: str, check: bool = True, timeout_seconds: int = CALL_TIMEOUT_SECONDS) -> Done:
        """One crictl command; raises CommandError with the runtime's words."""
        options = ("--runtime-endpoint", self.endpoint, "--timeout", f"{timeout_seconds}s")
        return self.node.run(str(self.crictl), *options, *arguments, check=check, timeout_seconds=timeout_seconds + 10)

    def ask(self, command: str, *arguments: str) -> dict[str, Any]:
        """One crictl command that answers with a JSON object."""
        answer = json.loads(self.call(command, "-o", "json", *arguments).output)
        return answer if isinstance(answer, dict) else {}

    @property
    def ready(self) -> bool:
        """Whether the runtime and its network both say they are."""
        done = self.call("info", "-o", "json", check=False, timeout_seconds=5)
        if not done.ok:
            return False
        conditions = json.loads(done.output)["status"]["conditions"]
        return all(each["status"] for each in conditions if each["type"] in ("RuntimeReady", "NetworkReady"))

    def run_pod(
        self,
        name: str,
        image: str = images.POD_IMAGE,
        command: Sequence[str] = (),
        ports: Sequence[dict[str, Any]] = (),
    ) -> Pod:
        """Make a pod with one container and start it; what failed half-way is for `remove_all`."""
        pod_file, container_file = f"{self.folder}/{name}.json", f"{self.folder}/{name}.container.json"
        self.node.write(pod_file, json.dumps(sandbox_config(name, self.namespace, ports)))
        self.node.write(container_file, json.dumps(container_config(name, image, command)))
        sandbox = self.call("runp", pod_file).output.strip()
        container = self.call("create", "--no-pull", sandbox, container_file, pod_file).output.strip()
        self.call("start", container)
        return Pod(name, sandbox, container, self.addresses(sandbox))

    def addresses(self, sandbox: str) -> tuple[str, ...]:
        """The addresses of a pod as the runtime reports them to a kubelet."""
        network = self.ask("inspectp", sandbox)["status"]["network"]
        more = (each["ip"] for each in network.get("additionalIps") or [])
        return tuple(address for address in (network["ip"], *more) if address)

    def sandboxes(self) -> list[str]:
        """The ids of all pods, running or not."""
        return [str(item["id"]) for item in self.ask("pods").get("items") or []]

    def exec(self, pod: Pod, *argv: str, check: bool = False, timeout_seconds: int = 60) -> Done:
        """Run a command in a pod's container."""
        return self.call("exec", "--sync", pod.container, *argv, check=check, timeout_seconds=timeout_seconds)

    def stop(self, sandbox: str) -> Done:
        """Stop a pod: its containers end and its network is given back."""
        return self.call("stopp", sandbox)

    def remove(self, sandbox: str) -> Done:
        """Remove a pod that was stopped."""
        return self.call("rmp", sandbox)

    def remove_all(self) -> None:
        """Stop and remove every pod, by force."""
        if sandboxes := self.sandboxes():
            self.call("rmp", "--force", *sandboxes)
