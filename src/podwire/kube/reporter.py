"""What this node tells the API server: that its network is up, and what is wrong with Nodes, as Events.

An Event's name follows from what it says, so where many agents see one bad Node, one Event comes of it; those that
do not concern an agent's own Node wait for a random while first, the longer the larger the cluster.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from podwire import __version__
from podwire.kube.client import Api, ApiError, KubernetesConfigError
from podwire.kube.informer import NodeCache, wait_seconds
from podwire.kube.nodes import Problem
from podwire.kube.objects import VERSION_ANNOTATION, network_is_up, version_of
from podwire.observe.log import AgentLog

UP = "PodwireIsUp"
PATIENCE_SECONDS = 5.0
"""A new Node has no podCIDR for a moment; what lasts longer is worth a word."""

AGAIN_SECONDS = 30 * 60.0
"""The API server forgets Events after an hour; what lasts on one's own Node is told again before that."""

EVENTS_PER_SECOND = 50.0
"""How many a whole cluster's agents may try to create because of one bad Node."""

MOST_EVENTS = 20
"""About other Nodes, within AGAIN_SECONDS: if more are bad, the reason is one and known by then."""

PATCH_AGAIN_SECONDS = 10.0
LONGEST_SLEEP_SECONDS = 60.0
CONFLICT = 409
NEVER = (400, 404, 405, 409, 413, 422)
"""Refusals that no later attempt would change; not among them: who am I, may I, not now."""


class _Due(Struct):
    """A problem, when it is to be told (monotonic seconds), and how often it was."""

    problem: Problem
    at: float
    times: int = 0
    lasting: bool = True


class Reporter:
    """Tells in a thread of its own. What cannot be told now is told once the API server answers."""

    def __init__(
        self, api: Api, own_name: str, cache: NodeCache, log: AgentLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._own_name = own_name
        self._picture = cache
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._due: dict[Problem, _Due] = {}
        self._peers_told = 0
        self._peers_since = 0.0
        self._patched_at = -PATCH_AGAIN_SECONDS
        self._up = False
        self._version_told = False

    def start(self) -> None:
        """Tell until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="reports").start()

    def network_is_up(self) -> None:
        """Pods of this node can be served, and the paths to its peers are there."""
        self._up = True
        self._woken.set()

    def own_changed(self) -> None:
        """This node's own Node was changed by somebody: look whether its condition is still there."""
        self._woken.set()

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """All that is wrong now. What is new is told if it lasts; what is no longer wrong is told as such."""
        now = self._clock()
        with self._lock:
            for one in problems:
                if one not in self._due:
                    self._due[one] = _Due(one, now + PATIENCE_SECONDS)
            for gone in set(self._due) - set(problems):
                if self._due[gone].lasting and self._due.pop(gone).times:
                    self._log.note(f"node {gone.node}: over: {gone.reason}")
        self._woken.set()

    def record_event(self, notice: Problem) -> None:
        """Something that is told once."""
        with self._lock:
            self._due[notice] = _Due(notice, self._clock(), lasting=False)
        self._woken.set()

    def _run(self) -> None:
        failures = 0
        while True:
            self._woken.wait(self.sleep_seconds())
            self._woken.clear()
            try:
                self.step()
                failures = 0
            except (ApiError, KubernetesConfigError) as failed:
                failures += 1
                if not isinstance(failed, ApiError) or failed.code:
                    words = f"the API server does not take this node's reports: {failed}"
                    self._log.failed("kubernetes", words, once=True)
                time.sleep(wait_seconds(failures))
                self._woken.set()
            except Exception as unforeseen:  # noqa: BLE001  one report that fails must not end all others
                failures += 1
                self._log.failed(
                    "kubernetes", f"a report failed ({type(unforeseen).__name__}: {unforeseen})", once=True
                )
                time.sleep(wait_seconds(failures))

    def sleep_seconds(self) -> float:
        """Until the next thing is due."""
        with self._lock:
            first = min((one.at for one in self._due.values()), default=float("inf"))
        if self._condition_is_missing():
            first = min(first, self._patched_at + PATCH_AGAIN_SECONDS)
        return min(max(first - self._clock(), 0.0), LONGEST_SLEEP_SECONDS)

    def step(self) -> None:
        """Tell what is due. Raises ApiError, KubernetesConfigError; what was not told then stays due."""
        self._tell_condition()
        for due in self._now_due():
            if not due.times:
                self._log.note(f"node {due.problem.node}: {due.problem.reason}: {due.problem.words}", "warning")
                due.times = 1
                if due.problem.node != self._own_name:
                    nodes = len(self._picture.infos or ())
                    due.at = self._clock() + random.uniform(0, nodes / EVENTS_PER_SECOND)  # noqa: S311  # spreads load
                    continue
            if due.problem.node == self._own_name or self._room_for_peers():
                self._try(partial(self._send, due))
            with self._lock:
                due.times += 1
                own = due.problem.node == self._own_name
                due.at = self._clock() + AGAIN_SECONDS if own else float("inf")
                if not due.lasting:
                    self._due.pop(due.problem, None)

    def _try(self, request: Callable[[], None]) -> None:
        """Make a request; one that would be refused for ever does not keep the others waiting. Raises ApiError."""
        try:
            request()
        except ApiError as refused:
            if refused.code not in NEVER:
                raise
            self._log.failed("kubernetes", f"the API server refuses a report: {refused}", once=True)

    def _now_due(self) -> list[_Due]:
        now = self._clock()
        with self._lock:
            return [one for one in self._due.values() if one.at <= now]

    def _room_for_peers(self) -> bool:
        now = self._clock()
        if now - self._peers_since > AGAIN_SECONDS:
            self._peers_since, self._peers_told = now, 0
        self._peers_told += 1
        return self._peers_told <= MOST_EVENTS

    def _condition_is_missing(self) -> bool:
        own = self._picture.own
        if not self._up or own is None:
            return False
        return not network_is_up(own, UP) or (version_of(own) != __version__ and not self._version_told)

    def _tell_condition(self) -> None:
        """NetworkUnavailable=False: the scheduler's taint `network-unavailable` goes with it. And the agent's version.

        That is told once: where a server does not take annotations this way, nothing depends on it.
        """
        now = self._clock()
        own = self._picture.own
        if own is None or not self._condition_is_missing() or now < self._patched_at + PATCH_AGAIN_SECONDS:
            return
        stamp = _now()
        condition = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": UP,
            "message": "podwire serves pods on this node",
            "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
        }
        annotations = {VERSION_ANNOTATION: __version__}
        status = {} if network_is_up(own, UP) else {"conditions": [condition]}
        self._try(lambda: self._api.patch_status(self._own_name, status, annotations))
        self._version_told = True
        self._patched_at = now
        if status:
            self._log.note(f"node {self._own_name}: condition NetworkUnavailable=False ({UP})")

    def _send(self, due: _Due) -> None:
        name = event_name(due.problem)
        stamp = _now()
        try:
            self._api.create_event(event(due.problem, name, self._own_name, stamp))
        except ApiError as refused:
            if refused.code != CONFLICT:
                raise
            if due.problem.node == self._own_name:
                self._api.patch_event(name, {"lastTimestamp": stamp, "count": max(due.times, 2)})


def event_name(problem: Problem) -> str:
    """The same for all who see the same: the API server takes it once."""
    digest = blake2b(f"{problem.reason} {problem.words}".encode(), digest_size=6).hexdigest()
    return f"podwire.{problem.node[:200]}.{digest}"


def event(problem: Problem, name: str, reporter: str, stamp: str) -> dict[str, Any]:
    """The Event; like the kubelet's it names the Node by its name in `uid`, which is where `kubectl describe` looks."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": problem.node, "uid": problem.node},
        "type": "Warning",
        "reason": problem.reason,
        "message": problem.words,
        "source": {"component": "podwire", "host": reporter},
        "reportingComponent": "podwire",
        "reportingInstance": reporter,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
