"""Following Nodes: what a list, a watch, a bookmark, a refusal and silence each lead to."""

from __future__ import annotations

import io
import json
import queue
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podwire.kube import client as api_module
from podwire.kube import informer as follow
from podwire.kube.client import Api, ApiError
from podwire.kube.informer import Informer
from podwire.kube.objects import Node, WatchEvent
from podwire.observe.log import AgentLog
from tests.support.namespace import wait_until


def node(name: str, version: int, address: str = "192.168.33.11") -> dict[str, Any]:
    """A Node as JSON has it."""
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}, "status": status}


def event(kind: str, found: dict[str, Any]) -> WatchEvent:
    return msgspec.json.decode(json.dumps({"type": kind, "object": found}), type=WatchEvent)


class Script:
    """Stands for the API server: lists and watches come from queues; an exception in them is raised."""

    server = "https://script"

    def __init__(self) -> None:
        self.lists: queue.Queue[Any] = queue.Queue()
        self.events: queue.Queue[Any] = queue.Queue()
        self.asked: list[str] = []

    def nodes(self) -> tuple[str, Iterator[Node]]:
        self.asked.append("list")
        found = self.lists.get()
        if isinstance(found, Exception):
            raise found
        version, nodes = found
        return version, iter([msgspec.convert(one, Node) for one in nodes])

    def watch(self, version: str) -> Iterator[WatchEvent]:
        self.asked.append(f"watch {version}")
        while (found := self.events.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found


class Bench:
    """A follower at work, its script, and what it said."""

    def __init__(self) -> None:
        self.script, self.log, self.changes = Script(), io.StringIO(), 0
        self.follower = Informer(self.script, "own", AgentLog(self.log), self._changed)  # type: ignore[arg-type]
        self.script.lists.put(("5", [node("own", 3), node("b", 4)]))
        self.follower.start()
        assert self.becomes(lambda: self.names() == {"own", "b"})

    def _changed(self) -> None:
        self.changes += 1

    def names(self) -> set[str]:
        return set(self.follower.cache.infos or {})

    def becomes(self, true: Callable[[], bool]) -> bool:
        return wait_until(true, 20.0)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(follow, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(follow, "LONGEST_WAIT_SECONDS", 0.02)
    return Bench()


def test_what_changes_nothing_that_matters_is_no_change(bench: Bench) -> None:
    before = bench.follower.cache.infos
    changes = bench.changes
    bench.script.events.put(event("MODIFIED", {**node("b", 6), "spec": {"unschedulable": True}}))
    bench.script.events.put(event("MODIFIED", node("b", 7)))
    bench.script.events.put(None)
    assert bench.becomes(lambda: "watch 7" in bench.script.asked)
    assert bench.follower.cache.infos is before and bench.changes == changes
    bench.script.events.put(event("MODIFIED", node("b", 8, "192.168.33.12")))
    assert bench.becomes(lambda: (bench.follower.cache.infos or {})["b"].addresses == ("192.168.33.12",))
    bench.script.events.put(event("DELETED", node("b", 9)))
    assert bench.becomes(lambda: bench.names() == {"own"})


def test_a_watch_goes_on_from_the_last_bookmark(bench: Bench) -> None:
    bookmark = {"kind": "Node", "metadata": {"resourceVersion": "90", "creationTimestamp": None}, "spec": {}}
    bench.script.events.put(event("BOOKMARK", bookmark))
    bench.script.events.put(None)
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 90")
    assert bench.script.asked.count("list") == 1


def test_a_failure_goes_on_from_the_same_version_and_an_old_version_begins_anew(bench: Bench) -> None:
    for _ in range(3):
        bench.script.events.put(ApiError(0, "connection refused"))
    assert bench.becomes(lambda: bench.script.asked.count("watch 5") == 4)
    assert bench.log.getvalue().count("connection refused") == 1, "told once"
    bench.script.events.put(ApiError(410, "too old"))
    bench.script.lists.put(ApiError(503, "not now"))
    assert bench.becomes(lambda: bench.script.asked.count("list") == 3)
    assert bench.names() == {"own", "b"}, "nothing goes before the whole list is there"
    bench.script.lists.put(("20", [node("own", 3), node("c", 19)]))
    assert bench.becomes(lambda: bench.names() == {"own", "c"} and bench.script.asked[-1] == "watch 20")


def test_a_node_that_is_not_understood_stays_as_it_was(bench: Bench) -> None:
    bad = {"metadata": {"name": "b", "resourceVersion": "6"}, "status": {"addresses": "none"}}
    bench.script.events.put(event("MODIFIED", bad))
    bench.script.events.put(event("ADDED", node("c", 7)))
    assert bench.becomes(lambda: bench.names() == {"own", "b", "c"})
    assert "not understood" in bench.log.getvalue()


def test_a_watch_that_is_silent_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "SILENCE_SECONDS", 0.2)
    ended = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"type": "ADDED", "object": node("b", 6)}).encode() + b"\n")
            self.wfile.flush()
            ended.wait(60)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    file = tmp_path / "kubeconfig"
    file.write_text(
        f"current-context: a\nclusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.server_port}'}}}}]\n"
        "users: [{name: a, user: {token: t}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
    )
    try:
        watch = Api(file).watch("5")
        assert next(watch).type == "ADDED"
        with pytest.raises(ApiError, match="timed out"):  # an end of the stream, after a minute, would be no error
            next(watch)
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


def test_whatever_a_server_sends_following_goes_on(bench: Bench) -> None:
    bench.script.events.put(event("MODIFIED", {"kind": "Node"}))
    bench.script.lists.put(("30", [node("own", 3), node("d", 29)]))
    assert bench.becomes(lambda: bench.names() == {"own", "d"} and bench.script.asked[-1] == "watch 30")


def test_another_version_of_an_agent_changes_no_path(bench: Bench) -> None:
    before, changes = bench.follower.cache.infos, bench.changes
    told = node("b", 6)
    told["metadata"]["annotations"] = {"podwire.dev/version": "9.9", "other": "x"}
    bench.script.events.put(event("MODIFIED", told))
    assert bench.becomes(lambda: (bench.follower.cache.infos or {})["b"].version == "9.9")
    assert bench.follower.cache.infos is before and bench.changes == changes
