"""The agent's settings from the API server: what follows from the Nodes, whenever it is another than before."""

from __future__ import annotations

import os
import select
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwire import __version__
from podwire.kube.client import Api
from podwire.kube.informer import Informer
from podwire.kube.nodes import Problem, same_addresses, wanted
from podwire.kube.objects import NodeInfo
from podwire.kube.reporter import Reporter
from podwire.kube.settings import Common, load_common
from podwire.node.old_settings import Peer, RawPeer, Settings
from podwire.node.old_settings_file import SettingsFileError
from podwire.node.old_source import KnownNode, WatchedFile
from podwire.observe.lines import rfc3339
from podwire.observe.log import AgentLog

ADDRESS_CHANGED = "AddressChanged"
FIRST_ANSWER_SECONDS = 5.0


class KubernetesSource:
    """Follows the Nodes, and tells the API server how this one is. See `podwire.node.source.Source`.

    What all nodes have in common stands in a file, which is read again when it changes.
    """

    def __init__(self, own_name: str, file: Path | None, kubeconfig: Path | None, log: AgentLog) -> None:
        """Raises KubernetesConfigError, SettingsFileError."""
        self._file = WatchedFile(file) if file else None
        self.common: Common = load_common(file)
        self.own_name = own_name
        self._log = log
        api = Api(kubeconfig)
        self.name, self._apis = api.server, (api, Api(kubeconfig))
        self._follower = Informer(api, own_name, log, self._wake)
        self._reporter = Reporter(self._apis[1], own_name, self._follower.cache, log)
        self._infos: Mapping[str, NodeInfo] | None = None
        self._known: dict[RawPeer, Peer] = {}
        self._own: NodeInfo | None = None
        self._settings: Settings | None = None
        self._problems: list[Problem] = []
        self._moves: dict[str, str] = {}
        self._begun = time.monotonic()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.epoll()
        for one in (self._woken, self._file.descriptor if self._file else -1):
            if one >= 0:
                self._poll.register(one, select.EPOLLIN)
        self.descriptor = self._poll.fileno()

    def first(self) -> None:
        """Begin to follow. The settings come when the API server answers; until then nothing is changed.

        A node may have got other ranges while no agent was there: if the API server answers soon, it is heard before
        the first pod is served with the ranges of before.
        """
        self._follower.start()
        self._reporter.start()
        self._follower.asked.wait(FIRST_ANSWER_SECONDS)

    def _wake(self) -> None:
        os.eventfd_write(self._woken, 1)

    def news(self) -> Settings | None:
        """What follows from the Nodes and the file now, if that is something else than before."""
        nodes, file = self._nodes_changed(), self._file_changed()
        infos = self._follower.cache.infos
        if infos is None or not (file or nodes):
            return None
        before, self._infos = self._infos or {}, infos
        self._tell_moves(before, infos)
        found = wanted(infos, self.own_name, self.common, self._known, self._own)
        self._known, self._own, self._problems = found.known, found.own, found.problems
        self._reporter.set_problems(found.problems)
        if found.settings is None or found.settings == self._settings:
            return None
        self._settings = found.settings
        return found.settings

    def _nodes_changed(self) -> bool:
        try:
            os.eventfd_read(self._woken)
        except BlockingIOError:
            return False
        self._reporter.own_changed()
        return self._follower.cache.infos is not self._infos

    def _file_changed(self) -> bool:
        """Was the file changed, and is it right?"""
        if self._file is None or not self._file.changed():
            return False
        try:
            self.common = load_common(self._file.path)
        except SettingsFileError as wrong:
            self._log.failed("node", f"{wrong}; the running network stays as it is")
            return False
        self._log.note(f"{self._file.path} was read again")
        return True

    def _tell_moves(self, before: Mapping[str, NodeInfo], after: Mapping[str, NodeInfo]) -> None:
        for name, new in after.items():
            old = before.get(name)
            if old is None or old is new or not old.addresses or not new.addresses or same_addresses(old, new):
                continue
            words = f"changed its address from {', '.join(old.addresses)} to {', '.join(new.addresses)}"
            self._moves[name] = f"{words} at {rfc3339(time.time())}"
            self._reporter.record_event(Problem(name, ADDRESS_CHANGED, f"{words}: its paths follow"))
        for name in [one for one in self._moves if one not in after]:
            del self._moves[name]

    def applied(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """The host is as the Nodes want it."""
        ranges = ",".join(str(one) for one in settings.pod_ranges)
        counts = f"peers={len(settings.peers)} changes={changes} ms={seconds * 1000:.1f}"
        unreachable = f" unreachable={len(problems)}" if problems else ""
        self._log.note(f"node {settings.name}: ranges={ranges} {counts}{unreachable}")
        self._reporter.network_is_up()

    def nodes(self) -> list[KnownNode]:
        """All Nodes as last heard of, bad ones too, this one first."""
        infos, moves = dict(self._follower.cache.infos or {}), dict(self._moves)
        problems: dict[str, list[str]] = {}
        for one in self._problems:
            problems.setdefault(one.node, []).append(f"{one.reason}: {one.words}")
        own = infos.pop(self.own_name, None) or self._own or NodeInfo(self.own_name, "", (), ())
        found = []
        for node_info in (own, *infos.values()):
            version = __version__ if node_info is own else node_info.version
            problem, move = "; ".join(problems.get(node_info.name, ())), moves.get(node_info.name, "")
            found.append(KnownNode(node_info.name, node_info.addresses, node_info.pod_ranges, version, problem, move))
        return found

    def silent_seconds(self) -> float:
        """Since the API server was last heard, or since the start if it never was."""
        return time.monotonic() - (self._follower.cache.heard_at or self._begun)

    def requests(self) -> Counter[tuple[str, str]]:
        """How many requests were made, by method and by what came of them (see `Api.requests`)."""
        return sum((Counter(dict(one.requests)) for one in self._apis), Counter())

    def bad_nodes(self) -> int:
        """How many Nodes are bad."""
        return len({one.node for one in self._problems})

    def unknown_reason(self) -> str:
        """What keeps this node without settings."""
        if self._settings is not None:
            return ""
        if self._follower.cache.infos is None:
            failed = self._log.failures.get("kubernetes")
            return f"no Nodes are known yet: {failed.words if failed else f'no answer of {self.name} so far'}"
        own = [f"node {one.node}: {one.reason}: {one.words}" for one in self._problems if one.node == self.own_name]
        return "; ".join(own) or "the Nodes are being looked at"
