# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server, with lightkube's kubeconfig and credentials and httpx2's client.

Every request of the agent is a method here with one of the paths below, so this file is the list of what the agent's
role must allow: list and watch nodes; patch nodes/status; create and patch events.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import yaml
from lightkube.config import client_adapter
from lightkube.config.kubeconfig import SERVICE_ACCOUNT, KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from podwire.kube.objects import Status

NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
PAGE = 500
"""Objects in one page: some megabytes of JSON, where all Nodes of a large cluster are fifty."""

UNAUTHORIZED = 401
REQUEST_SECONDS = 10.0
WATCH_SECONDS = (240, 300)
"""How long the server may keep one watch; a random part, so that not all agents come back at once."""

SILENCE_SECONDS = 130.0
"""Bookmarks come about once a minute: a watch that is silent for longer is dead, whatever TCP reports."""

ACCESS_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ConfigError, msgspec.MsgspecError)
WRONG_CONFIG = (OSError, ConfigError, yaml.YAMLError, msgspec.MsgspecError, LookupError, TypeError, AttributeError)


class KubernetesConfigError(Exception):
    """The API server's address or the credentials are missing or unusable: cause and next step in one line."""


class ApiError(Exception):
    """The API server did not answer, or refused: `code` is the HTTP status, 0 without an answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Api:
    """One API server, for one thread at a time.

    After a failure the next request opens a new connection and reads the credentials again (they are rotated).
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """Raises KubernetesConfigError."""
        self._kubeconfig = kubeconfig
        self._client: httpx2.Client | None = None
        self.server = _config(kubeconfig).cluster.server
        self.requests: Counter[tuple[str, str]] = Counter()
        """Requests made, by method and HTTP status ("error": no answer)."""

    def list_page(self, path: str, next_page: str = "") -> bytes:
        """One page of a list, as JSON; `next_page`: the `continue` of the page before. Raises ApiError."""
        parameters = {"limit": str(PAGE)} | ({"continue": next_page} if next_page else {})
        return self._request("GET", path, parameters)

    def watch(self, path: str, version: str) -> Iterator[bytes]:
        """The changes of a resource after `version`, each as a line of JSON, until the server ends the watch.

        Raises ApiError, also while iterating.
        """
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311  # spreads load, protects nothing
        }
        timeout = httpx2.Timeout(REQUEST_SECONDS, read=SILENCE_SECONDS)
        try:
            with self._connected().stream("GET", path, params=parameters, timeout=timeout) as answer:
                self.requests["GET", str(answer.status_code)] += 1
                if answer.status_code >= 400:
                    raise self._refusal(answer.status_code, answer.read())
                yield from _lines(answer.iter_bytes())
        except ACCESS_FAILURES as failed:
            raise self._failure("GET", failed) from None

    def patch_node_status(self, node: str, status: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
        """Merge `status` into a Node's status (strategic merge: conditions merge by type), and annotations.

        A role that may patch nodes/status may set annotations too, so no other rule is needed. Raises ApiError.
        """
        changes = {"metadata": {"annotations": annotations}, "status": status}
        self._request("PATCH", f"{NODES}/{node}/status", {}, changes, "application/strategic-merge-patch+json")

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event. Raises ApiError (409: it exists)."""
        self._request("POST", EVENTS, {}, event)

    def patch_event(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change an Event. Raises ApiError."""
        self._request("PATCH", f"{EVENTS}/{name}", {}, changes, "application/merge-patch+json")

    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        media_type: str = "application/json",
    ) -> bytes:
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": media_type} if body is not None else {}
        try:
            answer = self._connected().request(method, path, params=parameters, content=content, headers=headers)
            self.requests[method, str(answer.status_code)] += 1
            if answer.status_code >= 400:
                raise self._refusal(answer.status_code, answer.content)
        except ACCESS_FAILURES as failed:
            raise self._failure(method, failed) from None
        return answer.content

    def _connected(self) -> httpx2.Client:
        if self._client is None:
            config = _config(self._kubeconfig)
            assert config.user is not None
            context = client_adapter.verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
            self._client = httpx2.Client(
                base_url=config.cluster.server,
                auth=client_adapter.user_auth(config.user),
                verify=context,
                timeout=httpx2.Timeout(REQUEST_SECONDS),
                trust_env=False,
            )
        return self._client

    def _failure(self, method: str, failed: Exception) -> ApiError:
        """After any failure, the next request opens a new connection with the credentials of that time."""
        self.requests[method, "error"] += 1
        self.close()
        return ApiError(0, f"{self.server}: {str(failed) or type(failed).__name__}")

    def _refusal(self, code: int, body: bytes) -> ApiError:
        try:
            message = msgspec.json.decode(body, type=Status).message
        except msgspec.MsgspecError:
            message = body[:200].decode(errors="replace")
        if code == UNAUTHORIZED:
            self.close()
        return ApiError(code, f"{code}: {message}" if message else f"HTTP status {code}")

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines in chunks that may end inside a line."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _config(kubeconfig: Path | None) -> SingleConfig:
    """From the file, else the pod's service account, else $KUBECONFIG. Raises KubernetesConfigError."""
    file: Path | str | None = kubeconfig
    if file is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
        file = os.environ.get("KUBECONFIG")
        if not file:
            raise KubernetesConfigError("no API server: give --kubeconfig FILE, or run as a pod with a service account")
    where = file or SERVICE_ACCOUNT
    try:
        found = (KubeConfig.from_file(file) if file else KubeConfig.from_service_account()).get()
    except WRONG_CONFIG as wrong:
        words = " ".join(str(wrong).split())[:200]
        raise KubernetesConfigError(f"{where}: {words}: give a kubeconfig that kubectl accepts") from None
    if found is None or found.user is None:
        raise KubernetesConfigError(f"{where}: its current context names no user: add one")
    return found
