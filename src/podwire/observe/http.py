# SPDX-License-Identifier: Apache-2.0
"""Metrics and health over HTTP: three pages for the kubelet and Prometheus. No request delays a CNI call."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from podwire.observe.health import Health

MOST_REQUESTS = 8
"""At the same time; further connections are closed. The kubelet and one Prometheus need two."""

REQUEST_SECONDS = 10.0
TEXT = "text/plain; charset=utf-8"
Page = Callable[[str], tuple[str, bytes]]
"""Returns the content type and the text of the metrics for an Accept header."""


def serve(web: tuple[str, int], metrics: Page, health: Health) -> str:
    """Serve until the process ends; returns the URL. Raises OSError if the address cannot be used."""
    server = _Server(web, _handler(metrics, health))
    threading.Thread(target=server.serve_forever, daemon=True, name="web").start()
    host, port = server.server_address[:2]
    name = f"[{host!s}]" if ip_address(str(host)).version == 6 else str(host)
    return f"http://{name}:{port}/"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, web: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ip_address(web[0]).version == 6 else socket.AF_INET
        self._room = threading.Semaphore(MOST_REQUESTS)
        super().__init__(web, handler)

    def server_bind(self) -> None:
        """Bind without the DNS query of the base class."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread, unless MOST_REQUESTS are being answered."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started, which would have given the room back
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer in the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect or send nothing are not logged."""


def _handler(metrics: Page, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request; HTTP/1.0, so the connection ends with it."""

        timeout = REQUEST_SECONDS
        server_version, sys_version = "podwire", ""

        def do_GET(self) -> None:
            """Answer with a page."""
            page = self.path.partition("?")[0]
            if page == "/metrics":
                self._answer_metrics()
            elif page in ("/healthz", "/readyz"):
                why_not = health.liveness_error() if page == "/healthz" else health.readiness_error()
                self._answer(503 if why_not else 200, TEXT, f"{why_not or 'ok'}\n".encode(errors="replace"))
            else:
                self._answer(404, TEXT, b"there are /metrics, /healthz and /readyz\n")

        def _answer_metrics(self) -> None:
            try:
                kind, body = metrics(self.headers.get("Accept", ""))
            except OSError as refused:  # NetlinkError is one
                self._answer(500, TEXT, f"the kernel cannot be read: {refused}\n".encode())
            else:
                self._answer(200, kind, body)

        do_HEAD = do_GET  # noqa: N815  # the base class's name

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # the base class's name
            """Log nothing: requests come every few seconds."""

    return Handler
