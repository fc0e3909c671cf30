# SPDX-License-Identifier: Apache-2.0
"""The informer: what a list, a watch, a bookmark, a refusal, silence and an undecodable object each lead to.

The same tests run with Nodes and with a made-up resource that is namespaced.
"""

from __future__ import annotations

import io
import json
import queue
import threading
import tracemalloc
from collections.abc import Callable, Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct, field

from podwire.kube import client
from podwire.kube import informer as informer_module
from podwire.kube.client import NODES, Api, ApiError
from podwire.kube.informer import Cache, Informer, Resource, namespaced_name
from podwire.kube.objects import NodeInfo, ObjectMeta, node_info
from podwire.kube.source import NODE_RESOURCE
from podwire.observe.log import AgentLog
from tests.support.namespace import wait_until


class LampMeta(ObjectMeta, rename="camel"):
    """A resource that no cluster has."""

    labels: dict[str, str] = {}


class LampSpec(Struct):
    watts: int = 0


class Lamp(Struct):
    metadata: LampMeta
    spec: LampSpec = field(default_factory=LampSpec)


LAMP_RESOURCE: Resource[Lamp, int] = Resource(
    kind="Lamp", path="/apis/example.com/v1/lamps", wire=Lamp, slim=lambda lamp: lamp.spec.watts, key=namespaced_name
)


def node(name: str, version: int, number: int = 11) -> dict[str, Any]:
    """A Node as JSON has it; `number` is what its slim value tells."""
    status = {"addresses": [{"type": "InternalIP", "address": f"192.168.33.{number}"}]}
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}, "status": status}


def lamp(name: str, version: int, number: int = 11) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "default", "name": name, "resourceVersion": str(version)},
        "spec": {"watts": number},
    }


class Kind(Struct):
    """A resource, and how a test makes its objects and reads their slim values."""

    resource: Resource[Any, Any]
    make: Callable[..., dict[str, Any]]
    prefix: str
    number: Callable[[Any], int]
    broken: dict[str, Any]


KINDS = {
    "Node": Kind(NODE_RESOURCE, node, "", lambda info: int(info.addresses[0].rpartition(".")[2]), {"status": 7}),
    "Lamp": Kind(LAMP_RESOURCE, lamp, "default/", lambda watts: watts, {"spec": {"watts": "many"}}),
}


def event(kind: str, found: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": found}).encode()


def page(version: int, *items: Any, more: str = "") -> bytes:
    return json.dumps({"metadata": {"resourceVersion": str(version), "continue": more}, "items": items}).encode()


class Script:
    """Stands for the API server: pages and watches come from queues; an exception in them is raised."""

    server = "https://script"

    def __init__(self) -> None:
        self.pages: queue.Queue[Any] = queue.Queue()
        self.events: queue.Queue[Any] = queue.Queue()
        self.asked: list[str] = []
        self.paths: set[str] = set()

    def list_page(self, path: str, next_page: str = "") -> bytes:
        self.paths.add(path)
        self.asked.append(f"list {next_page}".strip())
        found = self.pages.get()
        if isinstance(found, Exception):
            raise found
        data: bytes = found
        return data

    def watch(self, path: str, version: str) -> Iterator[bytes]:
        self.paths.add(path)
        self.asked.append(f"watch {version}")
        while (found := self.events.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found


class Bench:
    """An informer at work, its script, and what it logged."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.script, self.log = kind, Script(), io.StringIO()
        self.changes: list[set[str]] = []
        self.informer: Informer[Any, Any] = Informer(
            self.script,  # type: ignore[arg-type]
            kind.resource,
            AgentLog(self.log),
            self._changed,
        )
        self.script.pages.put(page(5, self.make("own", 3), self.make("b", 4)))
        self.informer.start()
        assert self.becomes(lambda: self.script.asked[-1:] == ["watch 5"])
        assert self.numbers() == {"own": 11, "b": 11} and self.changes == [{"own", "b"}]

    def _changed(self, keys: Collection[str]) -> None:
        self.changes.append({key.removeprefix(self.kind.prefix) for key in keys})

    def make(self, name: str, version: int, number: int = 11) -> dict[str, Any]:
        return self.kind.make(name, version, number)

    def broken(self, name: str, version: int) -> dict[str, Any]:
        return {**self.make(name, version), **self.kind.broken}

    def numbers(self) -> dict[str, int]:
        values = self.informer.cache.snapshot()
        return {key.removeprefix(self.kind.prefix): self.kind.number(value) for key, value in values.items()}

    def becomes(self, true: Callable[[], bool]) -> bool:
        return wait_until(true, 20.0)


@pytest.fixture(params=list(KINDS))
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(informer_module, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(informer_module, "LONGEST_WAIT_SECONDS", 0.02)
    return Bench(KINDS[request.param])


def test_what_changes_nothing_that_matters_is_no_change(bench: Bench) -> None:
    before = bench.informer.cache.get(bench.kind.prefix + "b")
    bench.script.events.put(event("MODIFIED", {**bench.make("b", 6), "other": {"unschedulable": True}}))
    bench.script.events.put(event("MODIFIED", bench.make("b", 7)))
    bench.script.events.put(None)
    assert bench.becomes(lambda: "watch 7" in bench.script.asked)
    assert bench.informer.cache.get(bench.kind.prefix + "b") is before and bench.changes == [{"own", "b"}]
    bench.script.events.put(event("MODIFIED", bench.make("b", 8, 12)))
    assert bench.becomes(lambda: bench.numbers()["b"] == 12 and bench.changes[1:] == [{"b"}])
    bench.script.events.put(event("DELETED", bench.make("b", 9)))
    assert bench.becomes(lambda: bench.numbers() == {"own": 11} and bench.changes[2:] == [{"b"}])
    assert bench.script.paths == {bench.kind.resource.path}


def test_a_list_comes_in_pages_and_counts_when_it_is_whole(bench: Bench) -> None:
    bench.script.events.put(ApiError(410, "too old"))
    bench.script.pages.put(page(20, bench.make("own", 3), bench.make("c", 19), more="next"))
    assert bench.becomes(lambda: bench.script.asked[-1] == "list next")
    assert set(bench.numbers()) == {"own", "b"}
    bench.script.pages.put(page(20, bench.make("d", 18, 13)))
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 20")
    assert bench.numbers() == {"own": 11, "c": 11, "d": 13}
    assert bench.changes[1:] == [{"b", "c", "d"}], "what came, went, or is other than before"


def test_a_watch_goes_on_from_the_last_bookmark(bench: Bench) -> None:
    bookmark = {"kind": "Any", "metadata": {"resourceVersion": "90", "creationTimestamp": None}, "spec": {}}
    bench.script.events.put(event("BOOKMARK", bookmark))
    bench.script.events.put(None)
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 90")
    assert bench.script.asked.count("list") == 1 and set(bench.numbers()) == {"own", "b"}


def test_a_failure_goes_on_from_the_same_version_and_an_old_version_begins_anew(bench: Bench) -> None:
    for _ in range(3):
        bench.script.events.put(ApiError(0, "connection refused"))
    assert bench.becomes(lambda: bench.script.asked.count("watch 5") == 4)
    assert bench.log.getvalue().count("connection refused") == 1, "told once"
    assert "watch failed" in bench.log.getvalue() and "keeping the last state" in bench.log.getvalue()
    bench.script.events.put(ApiError(410, "too old"))
    bench.script.pages.put(ApiError(503, "not now"))
    assert bench.becomes(lambda: bench.script.asked.count("list") == 3)
    assert set(bench.numbers()) == {"own", "b"}, "nothing goes before the whole list is there"
    bench.script.pages.put(page(20, bench.make("own", 3), bench.make("c", 19)))
    assert bench.becomes(lambda: set(bench.numbers()) == {"own", "c"} and bench.script.asked[-1] == "watch 20")


def test_an_error_in_a_watch_is_the_servers_status(bench: Bench) -> None:
    gone = {"kind": "Status", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410}
    for status in (gone, {key: value for key, value in gone.items() if key != "metadata"}):
        bench.script.events.put(event("ERROR", status))
        bench.script.pages.put(page(20, bench.make("own", 3), bench.make("b", 4)))
    assert bench.becomes(lambda: bench.script.asked.count("list") == 3)
    assert "too old: listing again" in bench.log.getvalue() and "cannot be decoded" not in bench.log.getvalue()


def test_an_undecodable_object_of_a_watch_keeps_its_last_state(bench: Bench) -> None:
    for version in (6, 7):
        bench.script.events.put(event("MODIFIED", bench.broken("b", version)))
    bench.script.events.put(event("ADDED", bench.make("c", 8)))
    assert bench.becomes(lambda: bench.numbers() == {"own": 11, "b": 11, "c": 11})
    name = f"{bench.kind.resource.kind} {bench.kind.prefix}b cannot be decoded"
    assert bench.log.getvalue().count(name) == 1, "logged once"
    bench.script.events.put(event("DELETED", bench.broken("b", 9)))
    bench.script.events.put(None)
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 9"), "its version counts"
    assert set(bench.numbers()) == {"own", "c"}, "that it is gone needs no more than its name"


def test_an_undecodable_object_of_a_list_keeps_its_last_state_and_the_others_count(bench: Bench) -> None:
    bench.script.events.put(ApiError(410, "too old"))
    nameless = {"metadata": 7}
    items = [bench.broken("b", 18), bench.make("own", 3, 12), bench.broken("new", 17), nameless, bench.make("c", 19)]
    bench.script.pages.put(page(20, *items))
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 20")
    assert bench.numbers() == {"own": 12, "b": 11, "c": 11} and bench.changes[1:] == [{"own", "c"}]
    log = bench.log.getvalue()
    assert f"{bench.kind.prefix}b cannot be decoded" in log and f"{bench.kind.prefix}new cannot be decoded" in log
    assert "watch failed" not in log


def test_whatever_a_server_sends_the_informer_goes_on(bench: Bench) -> None:
    for count, sent in enumerate((event("MODIFIED", {"kind": "Any"}), b"\xff{", b"[]", event("MODIFIED", {})), 2):
        bench.script.events.put(sent)
        bench.script.pages.put(page(30 + count, bench.make("own", 3), bench.make("d", 29, count)))
        assert bench.becomes(lambda count=count: bench.script.asked[-1] == f"watch {30 + count}")  # type: ignore[misc]
        assert bench.numbers() == {"own": 11, "d": count}


def test_each_object_is_decoded_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    real = msgspec.json.decode
    monkeypatch.setattr(msgspec.json, "decode", lambda *a, **k: (decoded.append(a), real(*a, **k))[1])  # type: ignore[func-returns-value]
    bench.script.events.put(event("ADDED", bench.make("c", 6)))
    bench.script.events.put(event("BOOKMARK", {"metadata": {"resourceVersion": "8"}}))
    bench.script.events.put(None)
    assert bench.becomes(lambda: bench.script.asked[-1] == "watch 8") and "c" in bench.numbers()
    assert decoded == [], "type and object come from one pass of one decoder"


def test_a_watch_that_is_silent_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.2)
    ended = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(event("ADDED", node("b", 6)) + b"\n")
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
        watch = Api(file).watch(NODES, "5")
        assert json.loads(next(watch))["type"] == "ADDED"
        with pytest.raises(ApiError, match="timed out"):  # an end of the stream, after a minute, would be no error
            next(watch)
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


class PodMeta(ObjectMeta, rename="camel"):
    """A sample of what policies will need of Pods: as small as it may be."""

    labels: dict[str, str] = {}


class PodSpec(Struct, rename="camel"):
    node_name: str = ""
    host_network: bool = False


class PodAddress(Struct):
    ip: str


class PodStatus(Struct):
    addresses: tuple[PodAddress, ...] | None = field(default=None, name="podIPs")


class Pod(Struct):
    metadata: PodMeta
    spec: PodSpec = field(default_factory=PodSpec)
    status: PodStatus = field(default_factory=PodStatus)


class PodInfo(Struct, frozen=True, gc=False):
    addresses: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]


def pod_info(pod: Pod) -> PodInfo:
    addresses = tuple(address.ip for address in pod.status.addresses or ())
    return PodInfo(addresses, tuple(sorted(pod.metadata.labels.items())))


def big_node(number: int) -> dict[str, Any]:
    """A Node as large as real ones are: images, conditions, managed fields."""
    made: dict[str, Any] = node(f"worker-{number}.example.com", number)
    made["metadata"] |= {
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"podwire.dev/version": "0.1.0", "other": "x" * 500},
        "managedFields": [{"fieldsV1": {f"f:{key}": {} for key in range(100)}}],
    }
    made["spec"] = {"podCIDRs": [f"10.{number >> 8}.{number & 255}.0/24", f"fd00:10:244:{number:x}::/64"]}
    made["status"]["addresses"] = [
        {"type": "InternalIP", "address": f"192.168.{number >> 8}.{number & 255}"},
        {"type": "InternalIP", "address": f"fd00:192:168::{number:x}"},
    ]
    made["status"]["images"] = [{"names": [f"registry.example/image-{key}"], "sizeBytes": key} for key in range(50)]
    return made


def pod(number: int) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": f"web-7d4b9c6f5-{number:05}",
            "labels": {"app": "web", "pod-template-hash": "7d4b9c6f5"},
            "managedFields": [{"fieldsV1": {f"f:{key}": {} for key in range(50)}}],
        },
        "spec": {"nodeName": f"worker-{number % 100}", "containers": [{"image": "x" * 200}]},
        "status": {"podIPs": [{"ip": f"10.244.{number >> 8}.{number & 255}"}, {"ip": f"fd00:10:244::{number:x}"}]},
    }


POD_RESOURCE: Resource[Pod, PodInfo] = Resource(
    kind="Pod", path="/api/v1/pods", wire=Pod, slim=pod_info, key=namespaced_name
)


@pytest.mark.parametrize(("resource", "make", "most_bytes"), [(NODE_RESOURCE, big_node, 700), (POD_RESOURCE, pod, 700)])
def test_memory_per_object(resource: Resource[Any, Any], make: Callable[[int], Any], most_bytes: int) -> None:
    pages = [page(1, *map(make, range(start, start + 500))) for start in range(0, 3000, 500)]
    script = Script()
    informer: Informer[Any, Any] = Informer(script, resource, AgentLog(io.StringIO()), lambda keys: None)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for data in pages:
            informer._take_page(data, values)
        informer.cache.replace(values)
        taken = (tracemalloc.get_traced_memory()[0] - before) / len(values)
    finally:
        tracemalloc.stop()
    size = len(pages[0]) / 500
    print(f"{resource.kind}: {taken:.0f} bytes in the cache, {size:.0f} bytes of JSON")  # noqa: T201
    assert len(informer.cache) == 3000 and 100 < taken < most_bytes


def test_one_object_stands_for_equal_values() -> None:
    cache: Cache[NodeInfo] = Cache()
    first = node_info(msgspec.convert(node("a", 1), NODE_RESOURCE.wire))
    again = node_info(msgspec.convert(node("a", 2), NODE_RESOURCE.wire))
    assert cache.put("a", first) and not cache.put("a", again) and cache.get("a") is first
    assert cache.replace({"a": again}) == set() and cache.get("a") is first
    assert cache.put("a", None) and not cache.put("a", None) and len(cache) == 0
