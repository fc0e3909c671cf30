# SPDX-License-Identifier: Apache-2.0
"""The agent's settings from the API server: this node's Node, its peers' Nodes, and a file for the whole cluster."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from podwire import __version__
from podwire.ip import Address
from podwire.kube.client import NODES, Api
from podwire.kube.informer import Informer, Resource
from podwire.kube.nodes import Delta, NodeTable
from podwire.kube.objects import Node, NodeInfo, node_info
from podwire.kube.reporter import Reporter
from podwire.kube.settings import load_cluster_settings
from podwire.node.file_source import WatchedFile
from podwire.node.settings import NodeSettings, SettingsChange, SettingsFileError
from podwire.node.source import Source
from podwire.observe.events import Problem
from podwire.observe.lines import rfc3339
from podwire.observe.log import AgentLog
from podwire.observe.status import KnownNode

ADDRESS_CHANGED = "AddressChanged"
FIRST_ANSWER_SECONDS = 5.0
NODE_RESOURCE = Resource(kind="Node", path=NODES, wire=Node, slim=node_info)


class KubernetesSource(Source):
    """The settings that follow from the Nodes.

    The informer's thread notes the names of changed Nodes; the loop's thread updates the table with them.
    """

    def __init__(self, own_name: str, file: Path | None, kubeconfig: Path | None, log: AgentLog) -> None:
        """Raises KubernetesConfigError, SettingsFileError."""
        self._file = WatchedFile(file) if file else None
        self.cluster = load_cluster_settings(file, log.once)
        self.own_name = own_name
        self._log = log
        informer_api, reporter_api = Api(kubeconfig), Api(kubeconfig)
        self.name, self._apis = informer_api.server, (informer_api, reporter_api)
        self._informer = Informer(informer_api, NODE_RESOURCE, log, self._note_changed)
        self._cache = self._informer.cache
        self._reporter = Reporter(reporter_api, own_name, self._cache, log)
        self._table = NodeTable(own_name, self.cluster)
        self._complete = False
        """Does the loop know all peers of the table?"""

        self._reported = False
        """Does the reporter know all problems of the table?"""

        self._settings: NodeSettings | None = None
        self._moves: dict[str, str] = {}
        self._began = time.monotonic()
        self._changed: set[str] = set()
        self._lock = threading.Lock()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.epoll()
        self._poll.register(self._woken, select.EPOLLIN)
        if self._file:
            self._poll.register(self._file.descriptor, select.EPOLLIN)
        self.descriptor = self._poll.fileno()

    def start(self) -> None:
        """Begin to list and watch. Until the API server answers, nothing is changed.

        The node may have got another pod CIDR while no agent ran, so its first answer is awaited for a few seconds,
        before a pod gets an address of the old one.
        """
        self._informer.start()
        self._reporter.start()
        self._informer.tried.wait(FIRST_ANSWER_SECONDS)

    def _note_changed(self, names: Collection[str]) -> None:
        """Nodes have changed: called in the informer's thread, also when a list has brought no change."""
        with self._lock:
            self._changed.update(names)
        os.eventfd_write(self._woken, 1)

    def changes(self) -> SettingsChange | None:
        """What follows from the Nodes and the file that changed since the last time."""
        began = time.perf_counter()
        names = self._changed_names()
        ended: dict[str, tuple[Problem, ...]] = {}
        if self._file_changed():
            ended = dict.fromkeys(self._table.problems, ())
            self._table = NodeTable(self.own_name, self.cluster, self._settings)
            self._complete = self._reported = False
            names = set(self._cache.snapshot())
        if not self._cache.complete:
            return None
        delta = Delta()
        for name in sorted(names, key=self.own_name.__eq__):  # this node's last: it takes what the others leave
            delta.add(self._update(name))
        self._reporter.set_problems(delta.problems if self._reported else {**ended, **self._table.problems})
        self._reported = True
        return self._change(delta, began)

    def _changed_names(self) -> set[str]:
        try:
            os.eventfd_read(self._woken)
        except BlockingIOError:
            return set()
        with self._lock:
            names, self._changed = self._changed, set()
        if self.own_name in names:
            self._reporter.wake()
        return names

    def _file_changed(self) -> bool:
        """Does the file say something else, and is it right?"""
        if self._file is None or not self._file.changed():
            return False
        before = self.cluster
        try:
            self.cluster = load_cluster_settings(self._file.path, self._log.once)
        except SettingsFileError as wrong:
            self._log.failed("node", f"{wrong}; the last settings stay in force")
            return False
        self._log.note(f"{self._file.path} was read again")
        return self.cluster != before

    def _update(self, name: str) -> Delta:
        """Update the table with a Node's last state, and report a change of its addresses."""
        before = self._table.addresses(name)
        info = self._cache.get(name)
        delta = self._table.update(name, info)
        after = self._table.addresses(name)
        if info is None:
            self._moves.pop(name, None)
        elif before and after and before != after:
            words = f"changed its address from {_listed(before)} to {_listed(after)}"
            self._moves[name] = f"{words} at {rfc3339(time.time())}"
            self._reporter.record_event(Problem(name, ADDRESS_CHANGED, f"{words}: its routes follow"))
        return delta

    def _change(self, delta: Delta, began: float) -> SettingsChange | None:
        """What the loop has to know: once all peers, later what changed."""
        if self._table.own is None:
            return None
        before, self._settings = self._settings, self._table.own
        if not self._complete:
            self._complete = True
            settings = self._settings if self._settings != before else None
            return SettingsChange(settings, dict(self._table.peers), complete=True, began=began)
        if delta.settings is None and not delta.upserted and not delta.removed:
            return None
        return SettingsChange(delta.settings, delta.upserted, frozenset(delta.removed), began=began)

    def applied(self) -> None:
        """Report that this node's network is up."""
        self._reporter.network_is_up()

    def set_problems(self, problems: Sequence[Problem]) -> None:
        """Report what the loop cannot keep in its desired state, as Events of this node. The loop logs it."""
        self._reporter.set_problems({f"{self.own_name} reconcilers": problems}, logged=True)

    def nodes(self) -> list[KnownNode]:
        """All Nodes as last received, bad ones too, this node first."""
        infos = self._cache.snapshot()
        own = infos.pop(self.own_name, None)
        settings = self._settings
        if own is None and settings is not None:  # its Node is gone: what it goes on with
            addresses, cidrs = tuple(map(str, settings.addresses)), tuple(map(str, settings.pod_cidrs))
            own = NodeInfo(self.own_name, "", addresses, cidrs)
        known = self._known(own or NodeInfo(self.own_name, "", (), ()), __version__)
        return [known, *(self._known(info, info.version) for info in infos.values())]

    def _known(self, info: NodeInfo, version: str) -> KnownNode:
        found = self._table.problems.get(info.name, ()) if self._reported else ()
        problem = "; ".join(f"{each.reason}: {each.message}" for each in found)
        return KnownNode(info.name, info.addresses, info.pod_cidrs, version, problem, self._moves.get(info.name, ""))

    def silent_seconds(self) -> float:
        """Since the API server last sent something, or since the start if it never did."""
        return time.monotonic() - (self._cache.heard_at or self._began)

    def requests(self) -> Counter[tuple[str, str]]:
        """How many requests were made, by method and HTTP status (see `Api.requests`)."""
        return sum((Counter(dict(api.requests)) for api in self._apis), Counter())

    def bad_nodes(self) -> int:
        """How many Nodes have a problem."""
        return len(self._table.problems) if self._reported else 0

    def unknown_reason(self) -> str:
        """Why this node has no settings yet."""
        if self._settings is not None:
            return ""
        if not self._cache.complete:
            failed = self._log.failures.get("kubernetes")
            return f"no Nodes are known yet: {failed.words if failed else f'{self.name} has not answered yet'}"
        own = self._table.problems.get(self.own_name, ()) if self._reported else ()
        words = (f"node {each.node}: {each.reason}: {each.message}" for each in own)
        return "; ".join(words) or "the Nodes are not evaluated yet"


def _listed(addresses: tuple[Address, ...]) -> str:
    return ", ".join(map(str, addresses))
