# SPDX-License-Identifier: Apache-2.0
"""Requests to an API server: TLS, connections that are kept, closed or cut, and answers of every shape."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from podwire.kube import client
from podwire.kube.client import NODES, Api, ApiError
from tests.support.certificate import certificate
from tests.support.namespace import wait_until

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says, and notes the port of each connection."""

    protocol_version = "HTTP/1.1"
    answer: Answer
    ports: list[int]

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        self.ports.append(self.client_address[1])
        type(self).answer(self)

    def do_PATCH(self) -> None:
        self.do_GET()

    def body(self, data: bytes, *headers: tuple[str, str], status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    """Counts the connections that it has closed."""

    closed = 0

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed += 1


class Serving:
    """A server, and a client of it."""

    def __init__(self, folder: Path, *, tls: bool = False) -> None:
        self.handler = type("OneHandler", (Handler,), {"ports": []})
        self.server = Server(("127.0.0.1", 0), self.handler)
        authority = ""
        if tls:
            signed, key = certificate(folder)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(signed, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            authority = f", certificate-authority: {signed}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http{'s' if tls else ''}://127.0.0.1:{self.server.server_port}"
        self.file = folder / "kubeconfig"
        self.file.write_text(
            f"current-context: a\nclusters: [{{name: a, cluster: {{server: '{url}'{authority}}}}}]\n"
            "users: [{name: a, user: {token: t}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        )
        self.api = Api(self.file)

    def answers(self, answer: Answer) -> None:
        self.handler.answer = answer  # type: ignore[attr-defined]

    @property
    def ports(self) -> list[int]:
        ports: list[int] = self.handler.ports  # type: ignore[attr-defined]
        return ports

    def close(self) -> None:
        self.api.close()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    found = Serving(tmp_path)
    yield found
    found.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def watch(handler: Handler, *chunks: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for each in chunks:
        handler.wfile.write(chunk(each))
        handler.wfile.flush()


def test_tls_with_the_clusters_own_authority_alone(tmp_path: Path) -> None:
    serving = Serving(tmp_path, tls=True)
    try:
        serving.answers(lambda handler: handler.body(handler.headers["Authorization"].encode()))
        assert serving.api.list_page(NODES) == b"Bearer t"
        assert serving.api.list_page(NODES) == b"Bearer t" and len(set(serving.ports)) == 1, "one connection"
        serving.file.write_text(serving.file.read_text().replace("certificate-authority", "other"))
        with pytest.raises(ApiError, match=r"(?i)certificate verify failed") as refused:
            Api(serving.file).list_page(NODES)
        assert refused.value.code == 0
    finally:
        serving.close()


def test_a_kept_connection_that_the_server_has_closed_is_not_used_again(serving: Serving) -> None:
    def once(handler: Handler) -> None:
        handler.body(b"{}")
        handler.close_connection = True  # without saying so

    serving.answers(once)
    for served in range(1, 4):
        assert serving.api.list_page(NODES) == b"{}"
        assert wait_until(lambda: serving.server.closed == served)  # noqa: B023  it is called at once
    assert len(set(serving.ports)) == 3 and serving.api.requests["GET", "error"] == 0


def test_a_request_has_its_body_and_media_type(serving: Serving) -> None:
    got: list[Any] = []

    def take(handler: Handler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        got.append((handler.path, handler.headers["Content-Type"], json.loads(body)))
        handler.body(b"{}")

    serving.answers(take)
    serving.api.patch_node_status("a", {"conditions": []}, {"k": "v"})
    changes = {"metadata": {"annotations": {"k": "v"}}, "status": {"conditions": []}}
    assert got == [("/api/v1/nodes/a/status", "application/strategic-merge-patch+json", changes)]


def test_a_page_is_asked_for_by_its_token_and_may_be_compressed(serving: Serving) -> None:
    paths: list[str] = []

    def take(handler: Handler) -> None:
        paths.append(handler.path)
        handler.body(gzip.compress(b'{"items": []}'), ("Content-Encoding", "gzip"))

    serving.answers(take)
    assert serving.api.list_page(NODES) == serving.api.list_page(NODES, "a b") == b'{"items": []}'
    queries = [parse_qs(urlsplit(path).query) for path in paths]
    assert queries == [{"limit": ["500"]}, {"limit": ["500"], "continue": ["a b"]}]


def test_lines_of_a_watch_may_be_cut_anywhere(serving: Serving) -> None:
    def answer(handler: Handler) -> None:
        watch(handler, b'{"a"', b':1}\n{"b":2}\n{"c', b'":3', b"}\n")
        handler.wfile.write(b"0\r\n\r\n")

    serving.answers(answer)
    assert list(serving.api.watch(NODES, "5")) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
    list(serving.api.watch(NODES, "6"))
    assert len(set(serving.ports)) == 1, "a watch that the server ended leaves its connection"


def test_a_watch_that_is_left_closes_its_connection(serving: Serving) -> None:
    serving.answers(lambda handler: watch(handler, b'{"a":1}\n', b'{"b":2}\n'))
    lines = serving.api.watch(NODES, "5")
    assert next(lines) == b'{"a":1}'
    lines.close()  # type: ignore[attr-defined]
    assert next(serving.api.watch(NODES, "6")) == b'{"a":1}' and len(set(serving.ports)) == 2


@pytest.mark.parametrize("cut", ["in the body", "in a chunk", "before the head", "no HTTP"])
def test_an_answer_that_is_cut_is_an_error_and_the_next_one_is_good(serving: Serving, cut: str) -> None:
    def answer(handler: Handler) -> None:
        handler.close_connection = True
        if cut == "in the body":
            handler.body(b'{"items"', length=100)
        elif cut == "in a chunk":
            watch(handler, b"{}")
            handler.wfile.write(b"64\r\nrest")
        elif cut == "no HTTP":
            handler.wfile.write(b"\x15\x03\x01\r\n\r\n")

    serving.answers(answer)
    with pytest.raises(ApiError) as failed:
        serving.api.list_page(NODES)
    assert failed.value.code == 0 and serving.api.server in str(failed.value)
    assert serving.api.requests["GET", "error"] == 1
    serving.answers(lambda handler: handler.body(b"{}"))
    assert serving.api.list_page(NODES) == b"{}"


def test_a_refusal_has_its_status_and_the_servers_words(serving: Serving) -> None:
    serving.answers(lambda handler: handler.body(b'{"message": "no such thing"}', status=404))
    with pytest.raises(ApiError, match="404: no such thing") as refused:
        serving.api.list_page(NODES)
    assert refused.value.code == 404
    serving.answers(lambda handler: handler.body(b"<html>", status=502))
    with pytest.raises(ApiError, match="502: <html>"):
        next(serving.api.watch(NODES, "5"))


def test_a_server_that_never_answers_is_given_up(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(client, "REQUEST_SECONDS", 0.2)

    def answer(handler: Handler) -> None:
        ended.wait(60)

    serving.answers(answer)
    try:
        with pytest.raises(ApiError, match="timed out"):
            serving.api.list_page(NODES)
    finally:
        ended.set()
