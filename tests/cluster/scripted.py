# SPDX-License-Identifier: Apache-2.0
"""An API server of a few lines that does what a test asks for: Nodes and Events, list in pages, watch, compaction.

It is quick, and can do what a real one cannot be told to: forget old versions, or refuse a token. That real servers
behave like it is what running the same tests against one shows.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cluster.access import Access, in_namespace
from tests.support.namespace import Namespace

PORT = 6443
BOOKMARK_SECONDS = 1.0
Object = dict[str, Any]


class Scripted(Access):
    """Objects survive `stop`, as etcd's do; `forget` makes every version up to now too old for a watch."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        super().__init__(host, f"http://127.0.0.1:{PORT}", "first-token")
        self.kubeconfig = folder / "kubeconfig"
        self.token_file = folder / "token"
        self.token_file.write_text(self.token)
        self.kubeconfig.write_text(self.kubeconfig_text(f"tokenFile: {self.token_file}"))
        self.objects: dict[str, Object] = {}
        self.log: list[tuple[int, str, Object]] = []
        self.version, self.oldest = 100, 0
        self.requests: list[str] = []
        self.changed = threading.Condition()
        self.running = False
        self.starts = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Serve on the namespace's loopback."""
        api = self

        class Handler(_Handler):
            server_of = api

        self.running = True
        self.starts += 1
        self._server = in_namespace(self.host, lambda: _Server(("127.0.0.1", PORT), Handler))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """End it and every connection to it; may be called twice."""
        self.running = False
        with self.changed:
            self.changed.notify_all()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def forget(self) -> None:
        """A restart with an empty watch cache: watches from before get 410."""
        with self.changed:
            self.oldest = self.version
            self.log.clear()
            self.changed.notify_all()

    def store(self, kind: str, path: str, found: Object) -> Object:
        """Store an object and tell the watches."""
        with self.changed:
            self.version += 1
            found["metadata"]["resourceVersion"] = str(self.version)
            if kind == "DELETED":
                self.objects.pop(path)
            else:
                self.objects[path] = found
            if path.startswith("/api/v1/nodes/"):
                self.log.append((self.version, kind, json.loads(json.dumps(found))))
            self.changed.notify_all()
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_of: Scripted
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        """Silent."""

    def _answer(self, code: int, body: Object) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, code: int, words: str) -> None:
        self._answer(code, {"kind": "Status", "code": code, "message": words})

    def _body(self) -> Object:
        found: Object = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        return found

    def _allowed(self) -> bool:
        api = self.server_of
        api.requests.append(f"{self.command} {self.path}")
        if not api.running:
            self.close_connection = True
            return False
        if self.headers.get("Authorization") != f"Bearer {api.token}":
            self._body()
            self._refuse(401, "Unauthorized")
            return False
        return True

    def do_GET(self) -> None:
        """An object, a list in pages, or a watch."""
        if not self._allowed():
            return
        api, url = self.server_of, urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if query.get("watch"):
            self._watch(int(query["resourceVersion"]))
        elif url.path in api.objects:
            self._answer(200, api.objects[url.path])
        elif url.path.endswith(("/nodes", "/events")):
            with api.changed:
                found = [one for path, one in sorted(api.objects.items()) if path.rpartition("/")[0] == url.path]
                start, limit = int(query.get("continue", 0)), int(query.get("limit", len(found) or 1))
                metadata = {"resourceVersion": str(api.version)}
                if start + limit < len(found):
                    metadata["continue"] = str(start + limit)
                self._answer(200, {"metadata": metadata, "items": found[start : start + limit]})
        else:
            self._refuse(404, "not found")

    def do_POST(self) -> None:
        """Create."""
        if not self._allowed():
            return
        found = self._body()
        path = f"{self.path}/{found['metadata']['name']}"
        if path in self.server_of.objects:
            self._refuse(409, "exists already")
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        found["metadata"].setdefault("creationTimestamp", now)
        self._answer(201, self.server_of.store("ADDED", path, found))

    def do_PATCH(self) -> None:
        """Merge: objects key by key, conditions by their type, other lists whole."""
        if not self._allowed():
            return
        path, changes = self.path.removesuffix("/status"), self._body()
        if path not in self.server_of.objects:
            self._refuse(404, "not found")
            return
        found = json.loads(json.dumps(self.server_of.objects[path]))
        _merge(found, changes)
        self._answer(200, self.server_of.store("MODIFIED", path, found))

    def do_DELETE(self) -> None:
        """Delete."""
        if not self._allowed():
            return
        found = self.server_of.objects.get(self.path)
        if found is None:
            self._refuse(404, "not found")
        else:
            self._answer(200, self.server_of.store("DELETED", self.path, found))

    def _watch(self, version: int) -> None:
        api = self.server_of
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        start = api.starts
        while api.running and api.starts == start:
            with api.changed:
                if version < api.oldest:
                    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
                    self._chunk({"type": "ERROR", "object": status})
                    break
                new = [request for request in api.log if request[0] > version]
                if not new and not api.changed.wait(BOOKMARK_SECONDS):
                    metadata = {"resourceVersion": str(api.version), "creationTimestamp": None}
                    self._chunk({"type": "BOOKMARK", "object": {"kind": "Node", "metadata": metadata}})
                    version = api.version
            for number, kind, found in new:
                self._chunk({"type": kind, "object": found})
                version = number
        self.close_connection = True

    def _chunk(self, event: Object) -> None:
        data = json.dumps(event).encode() + b"\n"
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        except OSError:
            self.close_connection = True
            raise


def _merge(into: Object, changes: Object) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _merge(into.setdefault(key, {}), value)
        elif key == "conditions":
            types = {entry["type"] for entry in value}
            into[key] = [entry for entry in into.get(key, []) if entry["type"] not in types] + value
        else:
            into[key] = value
