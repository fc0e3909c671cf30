"""The API server: the few requests that this agent makes, over lightkube's configuration, credentials and HTTP client.

Every request that it makes is a method here, so this file is also the list of what its role has to allow:
list and watch nodes; patch nodes/status; create and patch events.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import ssl
import sys
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

from podwire.kube.objects import Node, NodeList, Status, WatchEvent

NODES = "/api/v1/nodes"
EVENTS = "/api/v1/namespaces/default/events"
PAGE = 500
"""Nodes in one answer: some megabytes, instead of fifty for all of a large cluster at once."""

UNAUTHORIZED = 401
REQUEST_SECONDS = 10.0
WATCH_SECONDS = (240, 300)
"""How long the server may keep one watch; drawn anew each time, so that agents do not come back all at once."""

SILENCE_SECONDS = 130.0
"""Bookmarks come about once a minute: a watch that is silent for longer is dead, whatever TCP thinks."""

NOT_USED = ("h2", "anyio", "trio")
ACCESS_FAILURES = (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError, ConfigError, msgspec.MsgspecError)


class KubernetesConfigError(Exception):
    """The API server's address or the credentials are missing or unusable, and what to do: one line."""


class ApiError(Exception):
    """The API server could not be asked, or refused: `code` is its HTTP status, 0 without an answer."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Api:
    """One API server. Connections are made anew after a failure, with credentials read anew (they are rotated).

    For one thread at a time.
    """

    def __init__(self, kubeconfig: Path | None) -> None:
        """Raises KubernetesConfigError."""
        _load_transport()
        self._kubeconfig = kubeconfig
        self._client: httpx2.Client | None = None
        self.server = _config(kubeconfig).cluster.server
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many requests were made, by method and HTTP status ("error": no answer)."""

    def nodes(self) -> tuple[str, Iterator[Node]]:
        """All Nodes, page by page, and the version that a watch goes on from. Raises ApiError, also while iterating."""
        first = self._page("")
        return first.metadata.resource_version, self._pages(first)

    def _pages(self, page: NodeList) -> Iterator[Node]:
        while True:
            yield from page.items
            if not page.metadata.next_page:
                return
            page = self._page(page.metadata.next_page)

    def _page(self, next_page: str) -> NodeList:
        parameters = {"limit": str(PAGE)}
        if next_page:
            parameters["continue"] = next_page
        page: NodeList = _decode(self._request("GET", NODES, parameters), NodeList)
        return page

    def watch(self, version: str) -> Iterator[WatchEvent]:
        """What happens to Nodes after `version`, until the server ends the watch. Raises ApiError."""
        parameters = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311  # spreads load, hides nothing
        }
        timeout = httpx2.Timeout(REQUEST_SECONDS, read=SILENCE_SECONDS)
        try:
            with self._connected().stream("GET", NODES, params=parameters, timeout=timeout) as answer:
                self.requests["GET", str(answer.status_code)] += 1
                if answer.status_code >= 400:
                    raise self._refusal(answer.status_code, answer.read())
                for line in _lines(answer.iter_bytes()):
                    event = _decode(line, WatchEvent)
                    if event.type == "ERROR":
                        status = _decode(bytes(event.object), Status)
                        raise ApiError(status.code, status.message or status.reason)
                    yield event
        except ACCESS_FAILURES as failed:
            raise self._failure("GET", failed) from None

    def patch_status(self, node: str, status: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
        """Merge `status` into a Node's (strategic merge: conditions merge by their type), and annotations.

        Those may be changed by whoever may patch nodes/status, so no other right is needed. Raises ApiError.
        """
        changes = {"metadata": {"annotations": annotations}, "status": status}
        self._request("PATCH", f"{NODES}/{node}/status", {}, changes, "application/strategic-merge-patch+json")

    def create_event(self, event: Mapping[str, Any]) -> None:
        """Create an Event. Raises ApiError (409: it is there already)."""
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
        media: str = "application/json",
    ) -> bytes:
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": media} if body is not None else {}
        try:
            answer = self._connected().request(method, path, params=parameters, content=content, headers=headers)
            self.requests[method, str(answer.status_code)] += 1
            if answer.status_code >= 400:
                raise self._refusal(answer.status_code, answer.content)
            found: bytes = answer.content
        except ACCESS_FAILURES as failed:
            raise self._failure(method, failed) from None
        return found

    def _connected(self) -> httpx2.Client:
        if self._client is None:
            parameters = client_adapter.ConnectionParams(timeout=httpx2.Timeout(REQUEST_SECONDS), trust_env=False)
            self._client = client_adapter.Client(_config(self._kubeconfig), parameters)
        return self._client

    def _failure(self, method: str, failed: Exception) -> ApiError:
        """Whatever went wrong, the next request begins with a new connection and the credentials of then."""
        self.requests[method, "error"] += 1
        self.close()
        return ApiError(0, f"{self.server}: {str(failed) or type(failed).__name__}")

    def _refusal(self, code: int, body: bytes) -> ApiError:
        try:
            words = msgspec.json.decode(body, type=Status).message
        except msgspec.MsgspecError:
            words = body[:200].decode(errors="replace")
        if code == UNAUTHORIZED:
            self.close()
        return ApiError(code, f"{code}: {words}" if words else f"HTTP status {code}")

    def close(self) -> None:
        """Close the connections; the next request makes new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _load_transport() -> None:
    """httpcore2 loads HTTP/2 and an event loop's sockets where they are installed: 1.6 MiB that nothing here uses."""
    if "httpcore2" in sys.modules:
        return
    hidden = [one for one in NOT_USED if one not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))  # None: as if they were not installed
    with contextlib.suppress(ImportError):
        importlib.import_module("httpcore2")
    for one in hidden:
        sys.modules.pop(one, None)


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines in chunks that end anywhere."""
    rest: list[bytes] = []
    for chunk in chunks:
        *whole, last = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest = []
        if last:
            rest.append(last)


def _decode(data: bytes, kind: Any) -> Any:
    return msgspec.json.decode(data, type=kind)


def _config(kubeconfig: Path | None) -> SingleConfig:
    """From the file, else the pod's service account, else $KUBECONFIG. Raises KubernetesConfigError."""
    named = kubeconfig
    if named is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
        named = Path(os.environ["KUBECONFIG"]) if os.environ.get("KUBECONFIG") else None
        if named is None:
            raise KubernetesConfigError("no API server: give --kubeconfig FILE, or run as a pod with a service account")
    where = named or Path(SERVICE_ACCOUNT)
    try:
        found = (KubeConfig.from_file(named) if named else KubeConfig.from_service_account()).get()
    except (
        OSError,
        ConfigError,
        yaml.YAMLError,
        msgspec.MsgspecError,
        LookupError,
        TypeError,
        AttributeError,
    ) as wrong:
        words = " ".join(str(wrong).split())[:200]
        raise KubernetesConfigError(f"{where}: {words}: give a kubeconfig that kubectl accepts") from None
    if found is None or found.user is None:
        raise KubernetesConfigError(f"{where}: its current context names no user: add one")
    return found
