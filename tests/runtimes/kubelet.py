# SPDX-License-Identifier: Apache-2.0
"""What a kubelet makes of a DaemonSet's pod: its volumes on the node, and its containers by the runtime interface.

Only what podwire's manifests use is known here; anything else is an error, so that no line of them goes untested.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podwire_lab.cri import Cri
from podwire_lab.node import wait_until

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
MASKED = ("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/scsi")
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""As a kubelet has them for every container whose procMount is the default."""

PROFILES = {"RuntimeDefault": 0, "Unconfined": 1}
CONTAINER_KEYS = {"name", "image", "imagePullPolicy", "command", "args", "env", "volumeMounts", "securityContext"}
CONTAINER_KEYS |= {"resources", "livenessProbe", "readinessProbe"}
SECURITY_KEYS = {"readOnlyRootFilesystem", "allowPrivilegeEscalation", "capabilities", "seccompProfile"}
SECURITY_KEYS |= {"appArmorProfile", "seLinuxOptions"}
Object = dict[str, Any]


@dataclass
class PodOnNode:
    """One pod of a DaemonSet on one node: made with `prepare`, then containers started by name."""

    cri: Cri
    spec: Object
    node_name: str
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    account: Mapping[str, str] = field(default_factory=dict)
    """The files of the service account, and what the kubelet puts into the environment."""

    environment: Mapping[str, str] = field(default_factory=dict)
    name: str = "podwire"
    security: Object = field(default_factory=lambda: {"namespace_options": {"network": 2, "pid": 1}})
    sandbox: str = ""
    attempts: int = 0

    def prepare(self) -> None:
        """Volumes and sandbox."""
        assert self.spec["hostNetwork"] is True
        self._folders: dict[str, str] = {}
        for volume in self.spec["volumes"]:
            self._folders[volume["name"]] = self._volume(dict(volume))
        if self.account:
            self._folders[ACCOUNT_FOLDER] = self._projected("account", self.account)
        self.sandbox = self.cri.call("runp", self._file("pod.json", self._sandbox_config())).output.strip()

    def _volume(self, volume: Object) -> str:
        name = volume.pop("name")
        ((kind, source),) = volume.items()
        if kind == "configMap":
            return self._projected(name, self.config_maps[source["name"]])
        assert kind == "hostPath", kind
        if source["type"] == "DirectoryOrCreate":
            self.cri.node.run("mkdir", "-p", source["path"])
        assert self.cri.node.path(source["path"]).is_dir()
        return str(source["path"])

    def _projected(self, name: str, files: Mapping[str, str]) -> str:
        """A folder whose files change all at once, by one symbolic link, as a kubelet's do."""
        folder = f"/var/lib/kubelet/pods/{self.name}/volumes/{name}"
        self.update(folder, files)
        for file in files:
            self.cri.node.run("ln", "-sfn", f"..data/{file}", f"{folder}/{file}")
        return folder

    def update(self, folder: str, files: Mapping[str, str]) -> None:
        """New contents for a projected volume."""
        self.attempts += 1
        version = f"..{self.attempts}"
        for file, text in files.items():
            self.cri.node.write(f"{folder}/{version}/{file}", text)
        self.cri.node.run("ln", "-sfn", version, f"{folder}/..new")
        self.cri.node.run("mv", "-T", f"{folder}/..new", f"{folder}/..data")

    def update_config(self, name: str, files: Mapping[str, str]) -> None:
        """A changed ConfigMap, as it arrives on the node."""
        self.update(self._folders[name], files)

    def _sandbox_config(self) -> Object:
        return {
            "metadata": {"name": self.name, "namespace": "podwire", "uid": self.name, "attempt": 1},
            "log_directory": f"/var/log/pods/{self.name}",
            "linux": {"cgroup_parent": "/pods", "security_context": self.security},
        }

    def _container_config(self, container: Object) -> Object:
        assert set(container) <= CONTAINER_KEYS, set(container) - CONTAINER_KEYS
        self.attempts += 1
        return {
            "metadata": {"name": container["name"], "attempt": self.attempts},
            "image": {"image": container["image"]},
            "command": container.get("command", []),
            "args": container.get("args", []),
            "envs": [{"key": key, "value": value} for key, value in self._environment(container).items()],
            "mounts": self._mounts(container),
            "log_path": f"{container['name']}.log",
            "linux": {"security_context": _security(container["securityContext"])},
        }

    def _environment(self, container: Object) -> dict[str, str]:
        found = dict(self.environment)
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}
                found[variable["name"]] = self.node_name
            else:
                found[variable["name"]] = variable["value"]
        return found

    def _mounts(self, container: Object) -> list[Object]:
        wanted = list(container.get("volumeMounts", []))
        if self.account:
            wanted.append({"name": ACCOUNT_FOLDER, "mountPath": ACCOUNT_FOLDER, "readOnly": True})
        return [
            {
                "container_path": entry["mountPath"],
                "host_path": self._folders[entry["name"]],
                "readonly": entry.get("readOnly", False),
            }
            for entry in wanted
        ]

    def _file(self, name: str, value: Object) -> str:
        folder = Path(tempfile.mkdtemp(prefix="kubelet-", dir=self.cri.node.host.folder))
        (folder / name).write_text(json.dumps(value))
        return str(folder / name)

    def start(self, container: Object) -> str:
        """Start one of the pod's containers; its id."""
        return self.make(self._container_config(container))

    def make(self, config: Object) -> str:
        """Start a container with this ContainerConfig; its id."""
        file, sandbox = self._file("container.json", config), self._file("pod.json", self._sandbox_config())
        made = self.cri.call("create", self.sandbox, file, sandbox).output.strip()
        self.cri.call("start", made)
        return made

    def state(self, container: str) -> Object:
        """A container's status."""
        status: Object = self.cri.query("inspect", container)["status"]
        return status

    def run(self, container: Object) -> int:
        """Run a container to its end, as an init container; its exit status."""
        return self.wait(self.start(container))

    def wait(self, container: str) -> int:
        """Wait until a container has ended; its exit status."""
        wait_until(lambda: self.state(container)["state"] == "CONTAINER_EXITED", container, 60)
        return int(self.state(container)["exitCode"])

    def stop(self, container: str) -> None:
        """SIGTERM, and SIGKILL after the pod's grace period; then remove it."""
        self.cri.call("stop", "--timeout", str(self.spec["terminationGracePeriodSeconds"]), container)
        self.cri.call("rm", container)

    def log(self, name: str) -> str:
        """What containers of this name have said."""
        path = self.cri.node.path(f"/var/log/pods/{self.name}/{name}.log")
        return path.read_text(errors="replace") if path.exists() else ""

    def remove(self) -> None:
        """The sandbox and all in it."""
        self.cri.call("rmp", "--force", self.sandbox)


def _security(context: Object) -> Object:
    assert set(context) <= SECURITY_KEYS, set(context) - SECURITY_KEYS
    capabilities = context["capabilities"]
    found: Object = {
        "namespace_options": {"network": 2, "pid": 1},
        "readonly_rootfs": context.get("readOnlyRootFilesystem", False),
        "no_new_privs": context.get("allowPrivilegeEscalation") is False,
        "capabilities": {"drop_capabilities": capabilities["drop"], "add_capabilities": capabilities.get("add", [])},
        "seccomp": {"profile_type": PROFILES[context["seccompProfile"]["type"]]},
        "masked_paths": list(MASKED),
        "readonly_paths": list(READ_ONLY),
    }
    if "appArmorProfile" in context:
        found["apparmor"] = {"profile_type": PROFILES[context["appArmorProfile"]["type"]]}
    if "seLinuxOptions" in context:
        found["selinux_options"] = context["seLinuxOptions"]
    return found
