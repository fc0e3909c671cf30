"""A node that has no descriptor, no task or no memory left for a while: nobody is told a success that is none.

Once there is room again, everything works as before.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import resource
from pathlib import Path
from typing import Any, cast

import pytest

from bench import stage
from podwire.netlink import link_deleter
from podwire.netlink.socket import Netlink
from tests.namespaces.ground import configuration
from tests.namespaces.mapping import mapped, port
from tests.namespaces.test_fastpath import Node, devices
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

TRY_AGAIN, KERNEL_REFUSED = 11, 100
MOST_FREE = 8
"""More descriptors than a DEL takes."""


def leave_free(pid: int, count: int) -> None:
    """Limit a process's descriptors so that it can open this many more."""
    used = {int(one.name) for one in Path(f"/proc/{pid}/fd").iterdir()}
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

    with stage.host(), stage.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
        for _ in range(link_deleter.THREADS + 2):
            node.add(pod)
            with monkeypatch.context() as failing:
                failing.setattr(link_deleter, "Netlink", Failing)
                answer = node.call(pod, "DEL")
            assert (answer.status, bool(devices())) == ((1, True) if code else (0, False))
            if code:
                assert json.loads(answer.body)["code"] == code
                assert node.call(pod, "DEL").status == 0
            assert devices() == []


def test_what_memory_is_missing_for_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 11 where not even this thread's own socket can delete."""
    with stage.host(), stage.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
        node.add(pod)

        def fails(*_: object) -> None:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        with monkeypatch.context() as failing:
            failing.setattr(node.host.shared.link_deleter, "delete", fails)
            failing.setattr(node.host.socket, "do", fails)
            answer = json.loads(node.call(pod, "DEL").body)
        assert answer["code"] == TRY_AGAIN
        assert "Cannot allocate memory: try again" in answer["msg"]
        assert node.call(pod, "DEL").status == 0
        assert devices() == []


def test_a_delete_that_never_returns_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where it is waited for, nor where announcements were lost."""
    monkeypatch.setattr(link_deleter, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(link_deleter._Removal, "run", lambda self: None)
    with stage.host(), stage.pods(1) as (pod,), Node(configuration("routed", (4,))) as node:
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

    with stage.host(), Node(configuration("routed", (4,))) as node:
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
