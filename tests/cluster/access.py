# SPDX-License-Identifier: Apache-2.0
"""How tests talk to an API server inside a namespace: HTTP from a thread that has gone in."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from podwire.netlink.namespaces import setns
from tests.support.namespace import Namespace

Done = TypeVar("Done")
NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"


def in_namespace(namespace: Namespace, do: Callable[[], Done]) -> Done:
    """What `do` returns, called in a thread that is inside the namespace; its sockets stay there."""
    found: list[Done] = []
    failed: list[BaseException] = []

    def run() -> None:
        descriptor = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor)
            found.append(do())
        except BaseException as wrong:  # noqa: BLE001  # it is raised again in the caller's thread
            failed.append(wrong)
        finally:
            os.close(descriptor)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


class Access:
    """An API server's Nodes and Events, as an administrator has them."""

    kubeconfig: Path
    """For the agent."""

    def __init__(self, host: Namespace, url: str, token: str, authority: Path | None = None) -> None:
        self.host = host
        self.url = url
        self.token = token
        self.authority = authority

    def start(self) -> None:
        """Serve, with the objects of before."""
        raise NotImplementedError

    def stop(self) -> None:
        """End; may be called twice."""
        raise NotImplementedError

    def close(self) -> None:
        """End for good."""
        self.stop()

    def forget(self) -> None:
        """Make every version up to now too old for a watch."""
        raise NotImplementedError

    def kubeconfig_text(self, user: str) -> str:
        """A kubeconfig for a user with this credential (a line of YAML)."""
        authority = f", certificate-authority: {self.authority}" if self.authority else ""
        return (
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n"
            f"clusters: [{{name: test, cluster: {{server: '{self.url}'{authority}}}}}]\n"
            f"users: [{{name: test, user: {{{user}}}}}]\n"
            "contexts: [{name: test, context: {cluster: test, user: test}}]\n"
        )

    def request(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Any:
        """The answer's JSON. Raises RuntimeError for a refusal, OSError without an answer."""
        data = json.dumps(body) if body is not None else None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": media}

        def ask() -> tuple[int, bytes]:
            place = urlsplit(self.url)
            connection: http.client.HTTPConnection
            if place.scheme == "https":
                context = ssl.create_default_context(cafile=str(self.authority))
                connection = http.client.HTTPSConnection(place.netloc, timeout=30, context=context)
            else:
                connection = http.client.HTTPConnection(place.netloc, timeout=30)
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        status, answer = in_namespace(self.host, ask)
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status}: {answer[:500].decode()}")
        return json.loads(answer)

    def add_node(self, name: str, addresses: list[str], ranges: list[str], *, ready: bool = True) -> None:
        """Create a Node as kubelet and controller manager together would."""
        spec: dict[str, Any] = {"podCIDR": ranges[0], "podCIDRs": ranges} if ranges else {}
        status = {
            "addresses": [{"type": "Hostname", "address": name}]
            + [{"type": "InternalIP", "address": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown", "reason": "Test"}],
            "nodeInfo": {"kubeletVersion": "v1.37.2"},
        }
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}
        self.request("POST", NODES, node)

    def delete_node(self, name: str) -> None:
        self.request("DELETE", f"{NODES}/{name}")

    def patch_node(self, name: str, changes: dict[str, Any]) -> None:
        """Merge changes into a Node's spec."""
        self.request("PATCH", f"{NODES}/{name}", changes, "application/strategic-merge-patch+json")

    def patch_status(self, name: str, status: dict[str, Any], media: str = "strategic-merge-patch") -> None:
        """Merge changes into a Node's status."""
        self.request("PATCH", f"{NODES}/{name}/status", {"status": status}, f"application/{media}+json")

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A Node's condition; empty if it has none of this type."""
        found = self.request("GET", f"{NODES}/{name}")["status"].get("conditions", [])
        return next((entry for entry in found if entry["type"] == kind), {})

    def events(self, reason: str) -> list[dict[str, Any]]:
        """The Events with a reason."""
        found = self.request("GET", EVENTS)["items"]
        return [entry for entry in found if entry["reason"] == reason]
