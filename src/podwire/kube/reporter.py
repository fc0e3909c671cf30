# SPDX-License-Identifier: Apache-2.0
"""What this node reports to the API server: that its network is up, and the problems of Nodes, as Events.

An Event's name follows from its text, so many agents that see one bad Node create one Event. Problems of other Nodes
are reported after a random time, the longer the larger the cluster.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct

from podwire import __version__
from podwire.kube.client import Api, ApiError, KubernetesConfigError
from podwire.kube.informer import Cache, wait_seconds
from podwire.kube.objects import NETWORK_UP_REASON, VERSION_ANNOTATION, NodeInfo
from podwire.observe.events import Problem, event_name, node_event
from podwire.observe.log import AgentLog

PATIENCE_SECONDS = 5.0
"""A new Node has no podCIDR for a moment: only problems that last are reported."""

AGAIN_SECONDS = 30 * 60.0
"""The API server deletes Events after an hour; a problem of this node that lasts is reported again before that."""

EVENTS_PER_SECOND = 50.0
"""How many Events all agents of a cluster may try to create for one bad Node."""

MOST_EVENTS = 20
"""Events about other Nodes within AGAIN_SECONDS: if more Nodes are bad, they have one cause."""

PATCH_AGAIN_SECONDS = 10.0
LONGEST_SLEEP_SECONDS = 60.0
NEVER = float("inf")
Clock = Callable[[], float]
CONFLICT = 409
PERMANENT = (400, 404, 405, 409, 413, 422)
"""Refusals that no later attempt changes. 401, 403 and 429 are not among them."""


class _Report(Struct):
    """A problem, when its report is due (monotonic seconds), and how often it was reported."""

    problem: Problem
    at: float
    times: int = 0
    lasting: bool = True
    logged: bool = False
    """Another part of the agent logs it."""


class Reporter:
    """Reports in its own thread. What cannot be reported now is reported when the API server answers again."""

    def __init__(
        self, api: Api, own_name: str, nodes: Cache[NodeInfo], log: AgentLog, clock: Clock = time.monotonic
    ) -> None:
        self._api, self._own_name, self._nodes, self._log, self._clock = api, own_name, nodes, log, clock
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._reports: dict[Problem, _Report] = {}
        self._problems: dict[str, Sequence[Problem]] = {}
        self._peer_events, self._peer_events_since = 0, 0.0
        self._patched_at = -PATCH_AGAIN_SECONDS
        self._up = self._version_sent = False

    def start(self) -> None:
        """Report until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="reporter").start()

    def network_is_up(self) -> None:
        """Pods of this node can be served, and the routes to its peers are there."""
        self._up = True
        self._woken.set()

    def wake(self) -> None:
        """This node's own Node has changed: look at its condition again."""
        self._woken.set()

    def set_problems(self, problems: Mapping[str, Sequence[Problem]], *, logged: bool = False) -> None:
        """All problems of each of these Nodes. New ones are reported if they last; the end of one is logged.

        With `logged`, another part of the agent logs them. Its problems have a key of their own.
        """
        now = self._clock()
        with self._lock:
            for node, found in problems.items():
                for gone in set(self._problems.get(node, ())) - set(found):
                    report = self._reports.pop(gone, None)
                    if report and report.times and not report.logged:
                        self._log.note(f"node {node}: over: {gone.reason}")
                for problem in found:
                    if problem not in self._reports:
                        self._reports[problem] = _Report(problem, now + PATIENCE_SECONDS, logged=logged)
                if found:
                    self._problems[node] = found
                else:
                    self._problems.pop(node, None)
        self._woken.set()

    def record_event(self, event: Problem) -> None:
        """Something that happened once, and is reported once."""
        with self._lock:
            self._reports[event] = _Report(event, self._clock(), lasting=False)
        self._woken.set()

    def _run(self) -> None:
        failures = 0
        while True:
            self._woken.wait(self.sleep_seconds())
            self._woken.clear()
            try:
                self.step()
                failures = 0
            except Exception as failed:  # noqa: BLE001  one report that fails must not end all others
                failures += 1
                words = f"the API server does not accept this node's reports: {failed}"
                if not isinstance(failed, ApiError | KubernetesConfigError):
                    words = f"a report failed: internal error ({type(failed).__name__}: {failed})"
                if not isinstance(failed, ApiError) or failed.code:  # without an answer, the informer logs it
                    self._log.failed("kubernetes", words, once=True)
                time.sleep(wait_seconds(failures))

    def sleep_seconds(self) -> float:
        """Until the next report is due."""
        with self._lock:
            first = min(self._condition_at(), *(report.at for report in self._reports.values()), NEVER)
        return min(max(first - self._clock(), 0.0), LONGEST_SLEEP_SECONDS)

    def step(self) -> None:
        """Send the reports that are due. Raises ApiError, KubernetesConfigError; what was not sent stays due."""
        self._report_condition()
        with self._lock:
            due = [report for report in self._reports.values() if report.at <= self._clock()]
        for report in due:
            problem = report.problem
            own = problem.node == self._own_name
            if not report.times:
                if not report.logged:
                    self._log.note(f"node {problem.node}: {problem.reason}: {problem.message}", "warning")
                report.times = 1
                if not own:
                    report.at = self._clock() + random.uniform(0, len(self._nodes) / EVENTS_PER_SECOND)  # noqa: S311  # spreads load
                    continue
            if own or self._may_report_peer():
                self._try(partial(self._send, report))
            with self._lock:
                report.times += 1
                report.at = self._clock() + AGAIN_SECONDS if own else NEVER
                if not report.lasting:
                    self._reports.pop(problem, None)

    def _try(self, request: Callable[[], None]) -> None:
        """Make a request; one that is refused for good does not keep the others waiting. Raises ApiError."""
        try:
            request()
        except ApiError as refused:
            if refused.code not in PERMANENT:
                raise
            self._log.failed("kubernetes", f"the API server refuses a report: {refused}", once=True)

    def _may_report_peer(self) -> bool:
        now = self._clock()
        if now - self._peer_events_since > AGAIN_SECONDS:
            self._peer_events_since, self._peer_events = now, 0
        self._peer_events += 1
        return self._peer_events <= MOST_EVENTS

    def _condition_at(self) -> float:
        """When the condition or the version of this node must be sent (monotonic seconds)."""
        own = self._nodes.get(self._own_name)
        if not self._up or own is None or (own.network_up and (own.version == __version__ or self._version_sent)):
            return NEVER
        return self._patched_at + PATCH_AGAIN_SECONDS

    def _report_condition(self) -> None:
        """Set NetworkUnavailable=False, which removes the taint `network-unavailable`; and announce the version.

        The version is sent once: where a server does not accept annotations in this request, nothing depends on it.
        """
        now = self._clock()
        own = self._nodes.get(self._own_name)
        if own is None or now < self._condition_at():
            return
        stamp = _now()
        condition = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": NETWORK_UP_REASON,
            "message": "podwire serves pods on this node",
            "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
        }
        status = {} if own.network_up else {"conditions": [condition]}
        self._try(lambda: self._api.patch_node_status(self._own_name, status, {VERSION_ANNOTATION: __version__}))
        self._version_sent, self._patched_at = True, now
        if status:
            self._log.note(f"node {self._own_name}: condition NetworkUnavailable=False ({NETWORK_UP_REASON})")

    def _send(self, report: _Report) -> None:
        stamp = _now()
        try:
            self._api.create_event(node_event(report.problem, self._own_name, stamp))
        except ApiError as refused:
            if refused.code != CONFLICT:
                raise
            if report.problem.node == self._own_name:
                changes = {"lastTimestamp": stamp, "count": max(report.times, 2)}
                self._api.patch_event(event_name(report.problem), changes)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
