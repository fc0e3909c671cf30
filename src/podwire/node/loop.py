# SPDX-License-Identifier: Apache-2.0
"""The loop that keeps the host in its desired state: the only place that applies, retries, counts and logs changes.

It wakes up for kernel notifications, for changed settings, and each second for what the kernel does not announce.
Each minute everything is read back. A reconciler that fails is called again after a time that doubles with each failure
(back-off). Whatever a reconciler raises, the others are called.
"""

from __future__ import annotations

import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from podwire.datapath.peer import PeerRoutes
from podwire.netlink.monitor import NotificationsLostError, Watch
from podwire.node.apply_changes import Outcome, apply_changes
from podwire.node.desired import DesiredState
from podwire.node.reconciler import NFTABLES_CHANGED, RESTORED, TICK, Change, Event, Reconciler
from podwire.node.settings import NodeSettings, SettingsChange
from podwire.node.source import Source
from podwire.node.task import KNOWN_ERRORS, Task, error_message
from podwire.observe.events import Problem
from podwire.observe.log import AgentLog

TICK_SECONDS = 1.0
FULL_LOOK_SECONDS = 60.0
STUCK_SECONDS = 60.0
"""Longer than any reconciler takes: five thousand peers take a second."""

GATHER_SECONDS = 0.005
"""Notifications come in bursts, one burst for every pod; they are read together."""

MAX_LINES = 20
"""The lines about what one reconciler restored at once; the rest is one line with their number."""


class Loop:
    """Keeps the host in its desired state, in a thread of its own after `start`."""

    def __init__(
        self,
        desired: DesiredState,
        reconcilers: Sequence[Callable[[DesiredState], Reconciler]],
        log: AgentLog,
        source: Source | None = None,
    ) -> None:
        self._desired, self._log, self._source = desired, log, source
        self._tasks = [Task(make(desired)) for make in reconcilers]
        self._watch = Watch()
        self._settings = Task(_Settings(desired))
        self._settings.due = False
        self._all_tasks = (self._settings, *self._tasks)
        self._new_settings: NodeSettings | None = None
        self._unconfirmed = False
        self._last_tick = self._last_full = time.monotonic()
        self._thread: threading.Thread | None = None
        self._beat = 0.0
        self._at = ""
        self._logged: set[str] = set()
        self.restored: Counter[tuple[str, str]] = Counter()
        """How many changes restored the desired state, by kind and by the reconciler's name."""

    # For other threads

    @property
    def in_place(self) -> bool:
        """Is there a network of pods, and has everything that its pods need been set up once?"""
        needed = [task for task in self._tasks if task.reconciler.needed_by_pods]
        return bool(self._desired.networks.all()) and all(task.succeeded for task in needed)

    def liveness_error(self) -> str:
        """Why nothing is restored any more; "" while the loop works."""
        if self._thread is None:
            return ""
        if not self._thread.is_alive():
            return "the loop's thread has ended"
        if (silent := time.monotonic() - self._beat) > STUCK_SECONDS:
            return f"the loop has been stuck for {silent:.0f} s{f' in {self._at}' if self._at else ''}"
        return ""

    def readiness_error(self) -> str:
        """Why pods cannot be started now, "" if they can."""
        return next((task.problem for task in self._all_tasks if task.problem and task.reconciler.needed_by_pods), "")

    def problems(self) -> list[str]:
        """Everything that cannot be kept in its desired state now, one line each."""
        found = []
        for task in self._all_tasks:
            found += [task.problem] if task.problem else []
            try:
                found += task.reconciler.problems()
            except Exception as failed:  # noqa: BLE001  the others' problems are reported all the same
                found.append(f"{task.reconciler.name}: {error_message(failed)}")
        return found

    @property
    def settings(self) -> NodeSettings | None:
        """This node's settings, None while they are not known."""
        return self._desired.settings

    @property
    def peers(self) -> int:
        """The number of peers."""
        return len(self._desired.peers)

    @property
    def peer_routes(self) -> PeerRoutes:
        """What the kernel must have for the peers."""
        return self._desired.peer_routes

    @property
    def failing(self) -> dict[str, bool]:
        """Whether each reconciler failed the last time, by its name."""
        return {task.reconciler.name: bool(task.error) for task in self._tasks}

    # The loop

    def begin(self) -> None:
        """Set up the host for the settings, if they are known, before the first CNI call is served.

        Raises SettingsFileError for a file that is wrong. Raises KernelRefusedError, NftablesError, InstallationError
        or OSError if a reconciler fails that pods need: the agent could not serve calls.
        """
        if self._source:
            self._source.start()
        self._step(self._take_changes)
        self._step(self._look)
        for task in self._all_tasks:
            if task.reconciler.needed_by_pods and isinstance(task.exception, KNOWN_ERRORS):
                raise task.exception
        self._step(self._confirm)
        self._step(self._report)

    def start(self) -> None:
        """Continue in a thread; CNI calls are served from now on."""
        self._desired.serving = True
        self._beat = time.monotonic()
        thread = threading.Thread(target=self._work, daemon=True, name="loop")
        thread.start()
        self._thread = thread  # last: a thread that has not started is not alive either

    def _work(self) -> None:
        descriptors = [self._watch.route.socket.fileno(), self._watch.nftables.socket.fileno()]
        descriptors += [self._source.descriptor] if self._source else []
        self._signal(Event(TICK))
        while True:
            self._beat, self._at = time.monotonic(), ""
            for step in (self._take_changes, self._read_events, self._look, self._confirm, self._report):
                self._step(step)
            select.select(descriptors, [], [], TICK_SECONDS)
            time.sleep(GATHER_SECONDS)

    def _step(self, step: Callable[[], None]) -> None:
        """Take one step. No exception ends the loop or prevents the other steps."""
        try:
            step()
        except Exception as failed:  # noqa: BLE001  see above
            self._log.failed("node", f"loop: {error_message(failed)}", once=True)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._last_full > FULL_LOOK_SECONDS:
            self._last_full = now
            for task in self._tasks:
                task.due = task.full = True
        for task in self._tasks:
            if task.ready():
                self._run(task)

    def _take_changes(self) -> None:
        """Ask the source what changed, and apply it."""
        change = self._source.changes() if self._source else None
        if change is not None:
            self._desired.take_peers(change)
            self._new_settings = change.settings or self._new_settings
        elif not self._settings.ready():
            return
        began = (change.began if change else 0.0) or time.perf_counter()
        if self._new_settings is not None:
            try:
                self._desired.take_settings(self._new_settings)
            except Exception as failed:  # noqa: BLE001  the last settings stay in force
                self._settings.failed(failed)
                change = replace(change, settings=None) if change is not None else None
            else:
                change = SettingsChange(self._new_settings) if change is None else change
                self._new_settings = None
                self._settings.done()
        if change is not None and self._desired.settings is not None:
            self._apply_settings(change, began)

    def _apply_settings(self, change: SettingsChange, began: float) -> None:
        changes = 0
        for task in self._tasks:
            try:
                concerned = task.reconciler.desired_changed(change)
            except Exception as failed:  # noqa: BLE001  the other reconcilers are called
                task.failed(failed)
                continue
            for made in self._apply(task).applied if concerned else ():
                changes += 1
                if made.note:
                    self._log.note(made.note)
        settings = self._desired.settings
        assert settings is not None
        cidrs, took = ",".join(map(str, settings.pod_cidrs)), (time.perf_counter() - began) * 1000
        words = f"node {settings.name}: pod_cidrs={cidrs} peers={self.peers} changes={changes} ms={took:.1f}"
        problems = len(self.problems())
        self._log.note(f"{words} problems={problems}" if problems else words)
        self._unconfirmed = True

    def _confirm(self) -> None:
        """Tell the source that its settings are applied, when everything that pods need is in place."""
        if self._unconfirmed and self._source and self.in_place and not self.readiness_error():
            self._unconfirmed = False
            self._source.applied()

    def _read_events(self) -> None:
        now = time.monotonic()
        if now - self._last_tick >= TICK_SECONDS:
            self._last_tick = now
            self._signal(Event(TICK))
        if self._watch.nftables_changed():
            self._signal(Event(NFTABLES_CHANGED))
        try:
            for kind, key in self._watch.route_events():
                self._signal(Event(kind, key))
        except NotificationsLostError:
            for task in self._tasks:
                task.due = task.full = True

    def _signal(self, event: Event, source: Task | None = None) -> None:
        for task in self._tasks:
            try:
                concerned = task is not source and task.reconciler.concerned_by(event)
            except Exception as failed:  # noqa: BLE001  the other reconcilers get the event
                self._log.failed("node", f"{task.reconciler.name}: {error_message(failed)}", once=True)
                task.due = task.full = True
            else:
                task.due = task.due or concerned

    def _run(self, task: Task) -> None:
        """Call a reconciler, apply its changes, and announce the changes that were applied."""
        applied = self._apply(task).applied
        if applied:
            self._announce(task.reconciler, applied)
            self._signal(Event(RESTORED, task.reconciler.name.encode()), task)

    def _apply(self, task: Task) -> Outcome:
        self._beat, self._at = time.monotonic(), task.reconciler.name
        full, task.due = task.full, False
        try:
            outcome = apply_changes(self._desired.host.socket, task.reconciler.differences(full=full))
        except Exception as failed:  # noqa: BLE001  one reconciler that fails must not stop the others
            outcome = Outcome(errors=[failed])
        if outcome.errors:
            more = f" ({len(outcome.errors) - 1} more)" if len(outcome.errors) > 1 else ""
            task.failed(outcome.errors[0], more)
        else:
            task.done()
        return outcome

    def _announce(self, reconciler: Reconciler, changes: Sequence[Change]) -> None:
        for place, change in enumerate(changes):
            if change.note:
                self._log.note(change.note)
                continue
            self.restored[change.kind, reconciler.name] += 1
            if place < MAX_LINES:
                self._log.note(f"restored: {change.command}")
        if len(changes) > MAX_LINES:
            self._log.note(f"restored: {len(changes) - MAX_LINES} more")

    def _report(self) -> None:
        """Log each problem when it begins and when it ends; pass all to the source, for Events."""
        problems = self.problems()
        current = set(problems)
        for problem in problems:
            if problem not in self._logged:
                self._log.failed("node", problem)
        for problem in sorted(self._logged - current):
            self._log.note(f"resolved: {problem}")
        if current != self._logged and self._source:
            failed = [task.problem for task in self._all_tasks if task.problem]
            self._source.set_problems([Problem(self._source.own_name, "ReconcileFailed", words) for words in failed])
        self._logged = current


class _Settings(Reconciler):
    """Stands for taking over new settings in the list of problems."""

    name = "settings"
    needed_by_pods = True
