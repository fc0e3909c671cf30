# SPDX-License-Identifier: Apache-2.0
"""A node that has no descriptor, no task or no memory left for a while: nobody is told a success that is none.

Once there is room again, everything works as before.
"""

from __future__ import annotations

import errno
import gc
import io
import json
import os
import resource
import threading
import urllib.request
from pathlib import Path
from typing import Any, cast

import pytest

from bench import namespaces
from podwire.agent import protocol, server
from podwire.agent.server import Server, listen
from podwire.netlink import link_deleter
from podwire.netlink.socket import Netlink
from podwire.observe import http
from podwire.observe.health import Health
from podwire.observe.log import AgentLog
from podwire.plugin.context import PluginState
from tests.namespaces.ground import MODES, configuration
from tests.namespaces.mapping import mapped, port
from tests.namespaces.test_templates import Node, devices
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

TRY_AGAIN, KERNEL_REFUSED = 11, 100
MOST_FREE = 8
"""More descriptors than a DEL takes."""


def leave_free(pid: int, count: int) -> None:
    """Limit a process's descriptors so that it can open this many more."""
    used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    limit = 0
    while count:
        count -= limit not in used
        limit += 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


@pytest.mark.parametrize("ports", [False, True], ids=["plain", "ports"])
@pytest.mark.parametrize("free", range(1, MOST_FREE + 1))
def test_del_succeeds_only_when_the_pod_is_unwired(
    plugin: Plugin, agent: Agent, host: Host, pod: Namespace, free: int, ports: bool
) -> None:
    """With so many descriptors; and it does succeed once there are enough."""
    config = mapped("routed", port(8080)) if ports else configuration("routed")
    assert plugin.cni_add(config, "box", pod.path).ok
    before = resource.prlimit(agent.pid, resource.RLIMIT_NOFILE)
    for _ in range(3):
        leave_free(agent.pid, free)
        ended = plugin.cni_del(config, "box", pod.path)
        resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, before)
        assert not (ended.ok and pod.link("eth0")), ended
        assert ended.ok or ended.code == TRY_AGAIN or "descriptor" in ended.message or "files" in ended.message, ended
    assert plugin.cni_del(config, "box", pod.path).ok
    assert pod.link("eth0") is None
    assert plugin.cni_add(config, "box", pod.path).ok


class UnforeseenError(Exception):
    """Any fault of ours."""


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (OSError(errno.EMFILE, "Too many open files"), 0),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 0),
        (OSError(errno.EPERM, "Operation not permitted"), KERNEL_REFUSED),
        (UnforeseenError("nobody foresaw this"), KERNEL_REFUSED),
    ],
    ids=["descriptors", "memory", "forbidden", "unforeseen"],
)
def test_a_delete_that_cannot_be_sent_is_told_and_ends_no_thread(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, code: int
) -> None:
    """More often than there are threads. What passes by is done without them."""

    class Failing(Netlink):
        def __init__(self, groups: int = 0) -> None:
            if not groups:
                raise fault
            super().__init__(groups=groups)

    times = link_deleter.THREADS + 2
    told, left, after = [], [], []
    with namespaces.host(), namespaces.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
        for _ in range(times):
            node.add(pod)
            with monkeypatch.context() as failing:
                failing.setattr(link_deleter, "Netlink", Failing)
                answer = node.call(pod, "DEL")
            told.append(json.loads(answer.body)["code"] if answer.status else 0)
            left.append(len(devices()))
            after.append((node.call(pod, "DEL").status, devices()))
    assert told == [code] * times
    assert left == [1 if code else 0] * times
    assert after == [(0, [])] * times


def test_what_memory_is_missing_for_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 11 where not even this thread's own socket can delete."""
    with namespaces.host(), namespaces.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
        node.add(pod)

        def fails(*_: object) -> None:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        with monkeypatch.context() as failing:
            failing.setattr(node.host.namespace.link_deleter, "delete", fails)
            failing.setattr(node.host.socket, "do", fails)
            answer = json.loads(node.call(pod, "DEL").body)
        assert answer["code"] == TRY_AGAIN
        assert "Cannot allocate memory: try again" in answer["msg"]
        assert node.call(pod, "DEL").status == 0
        assert devices() == []


def test_a_delete_that_never_returns_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is waited for, nor where announcements were lost."""
    monkeypatch.setattr(link_deleter, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(link_deleter._Deletion, "run", lambda self: None)
    with namespaces.host(), namespaces.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
        node.add(pod)
        assert node.call(pod, "DEL").status == 1

        class Lossy(Netlink):
            def __init__(self, groups: int = 0) -> None:
                super().__init__(groups=groups)
                self.socket = cast(Any, LostAnnouncements(self.socket))

        monkeypatch.setattr(link_deleter, "Netlink", Lossy)
        assert node.call(pod, "DEL").status == 1
        assert len(devices()) == 1


class LostAnnouncements:
    """A socket whose buffer was too small, and that is ready to say so."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._read, write = os.pipe()
        os.close(write)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def fileno(self) -> int:
        return self._read

    def recv(self, _: int) -> bytes:
        raise OSError(errno.ENOBUFS, "No buffer space available")


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_deletes_of_nothing_keep_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do refused ones, until the garbage collector comes, which in an agent is rare."""

    class Failing(Netlink):
        def __init__(self, groups: int = 0) -> None:
            if not groups:
                raise OSError(errno.EPERM, "Operation not permitted")
            super().__init__(groups=groups)

    with namespaces.host(), Node(configuration("routed", (4,))) as node:
        gc.disable()
        try:
            node.host.delete("pwnothing")
            before = open_descriptors()
            for _ in range(20):
                assert node.host.delete("pwnothing") is False
            monkeypatch.setattr(link_deleter, "Netlink", Failing)
            for _ in range(20):
                with pytest.raises(OSError, match="not permitted"):
                    node.host.delete("pwnothing")
            assert wait_until(lambda: open_descriptors() <= before, 5)
        finally:
            gc.enable()


def no_threads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As at the limit of tasks: threads of this name, or with such a target, cannot be started."""
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if name in (thread.name, getattr(getattr(thread, "_target", None), "__name__", "")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)


@pytest.mark.parametrize("mode", MODES)
def test_del_works_at_the_limit_of_tasks_and_after_it(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(link_deleter, "WAIT_SECONDS", 1)
    with namespaces.host(), namespaces.pods(2) as pods, Node(configuration(mode, (4,))) as node:
        for _ in range(2):
            for limited in (True, False):
                for pod in pods:
                    node.add(pod)
                with monkeypatch.context() as limit:
                    if limited:
                        no_threads(limit, "delete")
                    answers = [node.call(pod, "DEL") for pod in pods]
                assert [(answer.status, answer.body) for answer in answers] == [(0, b"")] * len(pods)
                assert devices() == []


def test_calls_are_answered_after_the_limit_of_tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All threads are held up, and for a while there can be no other."""
    held, free = threading.Semaphore(0), threading.Event()

    def answer(question: str) -> bytes:
        if question == "hold":
            held.release()
            free.wait(30)
        return b"{}"

    path = tmp_path / "agent.sock"
    listener = listen(path)
    log = io.StringIO()
    Server(listener, PluginState(reconciled=True), AgentLog(log), answer).start()

    def ask(question: str) -> threading.Thread:
        thread = threading.Thread(target=protocol.query, args=(path, question, 30.0), daemon=True)
        thread.start()
        return thread

    try:
        with monkeypatch.context() as limit:
            no_threads(limit, "call")
            holding = [ask("hold") for _ in range(server.USUAL_THREADS)]
            assert [held.acquire(timeout=10) for _ in holding] == [True] * server.USUAL_THREADS
            waiting = ask("ping")
            assert wait_until(lambda: "can't start new thread" in log.getvalue(), 10)
            assert waiting.is_alive()
        waiting.join(10)
        assert not waiting.is_alive(), "another thread answers"
    finally:
        free.set()
        listener.close()
    for entry in holding:
        entry.join(10)
    assert log.getvalue().count("can't start new thread") == 1


def test_pages_are_served_after_the_limit_of_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Well:
        liveness_error = readiness_error = staticmethod(lambda: "")

    def status() -> int:
        """0 where no answer comes."""
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}healthz", timeout=10) as page:
                return int(page.status)
        except OSError:
            return 0

    url = http.serve(("127.0.0.1", 0), lambda _: ("text/plain", b""), cast(Health, Well()))
    with monkeypatch.context() as limit:
        no_threads(limit, "process_request_thread")
        assert {status() for _ in range(http.MOST_REQUESTS + 1)} == {0}
    assert status() == 200
