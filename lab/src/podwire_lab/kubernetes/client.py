# SPDX-License-Identifier: Apache-2.0
"""Runs kubectl on the cluster's first node, as its administrator."""

from __future__ import annotations

import json
from typing import Any

from podwire.record import Record
from podwire_lab.command import TIMEOUT_SECONDS, CommandResult
from podwire_lab.kubernetes.kubeadm import ADMIN
from podwire_lab.node import Node


class Kubectl(Record):
    """kubectl for the cluster whose control plane runs on `node`."""

    node: Node

    def argv(self, *arguments: str) -> list[str]:
        """The command line of a kubectl command, to run on the machine."""
        return self.node.argv("kubectl", "--kubeconfig", ADMIN, *arguments)

    def call(
        self, *arguments: str, stdin: str = "", check: bool = True, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> CommandResult:
        """Run a kubectl command; raises CommandError with kubectl's error."""
        words = ("kubectl", "--kubeconfig", ADMIN, *arguments)
        return self.node.run(*words, stdin=stdin, check=check, timeout_seconds=timeout_seconds)

    def apply(self, manifest: str) -> None:
        """Apply a manifest; raises CommandError."""
        self.call("apply", "--filename", "-", stdin=manifest)

    def get(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """All objects of a kind; raises CommandError."""
        items: list[dict[str, Any]] = json.loads(self.call("get", kind, "--output", "json", *arguments).output)["items"]
        return items

    def wait(self, kind: str, condition: str, *arguments: str, timeout_seconds: int = 60) -> None:
        """Wait until objects have a condition; raises CommandError that names objects without it."""
        limit = f"--timeout={timeout_seconds}s"
        self.call("wait", kind, f"--for=condition={condition}", limit, *arguments, timeout_seconds=timeout_seconds + 10)
