# SPDX-License-Identifier: Apache-2.0
"""A real kubeadm cluster, as a user has it: built, asked and removed by `podwire lab`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PODWIRE = str(Path(sys.executable).parent / "podwire")
UP_SECONDS, CALL_SECONDS = 900, 240
MANIFEST = Path(__file__).parents[2] / "deploy" / "podwire.yaml"


class Cluster:
    """One lab with Kubernetes in it."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = name
        self.options = options

    def podwire(
        self, verb: str, *arguments: str, stdin: str = "", check: bool = True, seconds: float = CALL_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """`podwire lab VERB --name … ARGUMENTS`; with `check` a failure shows what was said."""
        argv = [PODWIRE, "lab", verb, "--name", self.name, *arguments]
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
        return done

    def up(self) -> str:
        """Build it; what was said on the way."""
        return self.podwire("up", "--kubernetes", *self.options, seconds=UP_SECONDS).stderr

    def down(self) -> None:
        """Remove it, whatever is left of it."""
        self.podwire("down", check=False)

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """What a kubectl command printed."""
        return self.podwire("kubectl", *arguments, stdin=stdin, check=check).stdout

    def get(self, *arguments: str) -> Any:
        """Objects as Python values."""
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self.kubectl(
            "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def wait(self, kind: str, *arguments: str, condition: str = "condition=Ready", seconds: int = 120) -> None:
        """Wait until objects have a condition."""
        self.kubectl("wait", kind, f"--for={condition}", f"--timeout={seconds}s", *arguments)

    def run(self, where: str, *command: str, check: bool = True, stdin: str = "") -> str:
        """What a command on a host or in a pod printed."""
        return self.podwire("exec", where, "--", *command, check=check, stdin=stdin).stdout

    def argv(self, where: str, *command: str) -> list[str]:
        """The command line of the same, for whoever runs it alongside."""
        return [PODWIRE, "lab", "exec", "--name", self.name, where, "--", *command]

    def nodes(self) -> dict[str, bool]:
        """The nodes, and whether each is Ready."""
        return {item["metadata"]["name"]: _is_ready(item) for item in self.get("nodes")["items"]}

    def traces(self, node: str) -> dict[str, list[str]]:
        """What leaked pods would leave on a node: the names of its objects, without what differs by time."""
        links = json.loads(self.run(node, "ip", "-json", "link"))
        routes = [
            row
            for family in ("-4", "-6")
            for row in json.loads(self.run(node, "ip", family, "-json", "route", "show", "table", "all") or "[]")
            if str(row.get("dev", "")).startswith(("pw", "pi"))
        ]
        neighbours = json.loads(self.run(node, "ip", "-json", "neigh", "show", "nud", "permanent") or "[]")
        ports = self.run(node, "nft", "list", "table", "inet", "podwire-ports", check=False)
        return {
            "links": sorted(row["ifname"] for row in links),
            "altnames": sorted(name for row in links for name in row.get("altnames", [])),
            "routes": sorted(row["dst"] for row in routes),
            "neighbours": sorted(row["dst"] for row in neighbours),
            "namespaces": sorted(self.run(node, "ls", "/run/netns").split()),
            "ports": [line.strip() for line in ports.splitlines() if "counter" not in line],
        }


def _is_ready(item: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in item["status"]["conditions"])


def pod(name: str, node: str, image: str = "bash", *, command: Sequence[str] = (), **spec: Any) -> dict[str, Any]:
    """A pod on a node, of one of the lab's images. `ports` are its container's, all else goes into its spec."""
    container = {
        "name": "main",
        "image": f"localhost/podwire-lab/{image}:latest",
        "imagePullPolicy": "IfNotPresent",
        "ports": spec.pop("ports", []),
    }
    if command:
        container["command"] = list(command)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
            **spec,
        },
    }
