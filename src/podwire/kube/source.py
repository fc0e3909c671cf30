"""The agent's settings from the API server: what follows from the Nodes, whenever it is another than before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from podwire.agent.log import CallLog
from podwire.kube.api import Api
from podwire.kube.follow import Follower
from podwire.kube.objects import Fact
from podwire.kube.report import Reporter
from podwire.kube.settings import Common
from podwire.kube.wanted import Problem, same_addresses, wanted
from podwire.node.settings import Peer, RawPeer, Settings

ADDRESS_CHANGED = "AddressChanged"


class KubernetesSource:
    """Follows the Nodes, and tells the API server how this one is. See `podwire.agent.source.Source`."""

    def __init__(self, own_name: str, common: Common, kubeconfig: Path | None, log: CallLog) -> None:
        """Raises KubernetesConfigError."""
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._own_name = own_name
        self._common = common
        self._log = log
        self._follower = Follower(Api(kubeconfig), own_name, log, self._wake)
        self._reporter = Reporter(Api(kubeconfig), own_name, self._follower.picture, log)
        self._facts: Mapping[str, Fact] | None = None
        self._known: dict[RawPeer, Peer] = {}
        self._own: Fact | None = None
        self._settings: Settings | None = None

    def first(self) -> None:
        """Begin to follow. The settings come when the API server answers; until then nothing is changed."""
        self._follower.start()
        self._reporter.start()

    def _wake(self) -> None:
        os.eventfd_write(self.descriptor, 1)

    def news(self) -> Settings | None:
        """What follows from the Nodes now, if that is something else than before."""
        try:
            os.eventfd_read(self.descriptor)
        except BlockingIOError:
            return None
        self._reporter.own_changed()
        facts = self._follower.picture.facts
        if facts is None or facts is self._facts:
            return None
        before, self._facts = self._facts or {}, facts
        self._tell_moves(before, facts)
        found = wanted(facts, self._own_name, self._common, self._known, self._own)
        self._known, self._own = found.known, found.own
        self._reporter.problems_are(found.problems)
        if found.settings is None or found.settings == self._settings:
            return None
        self._settings = found.settings
        return found.settings

    def _tell_moves(self, before: Mapping[str, Fact], after: Mapping[str, Fact]) -> None:
        for name, new in after.items():
            old = before.get(name)
            if old is None or old is new or not old.addresses or not new.addresses or same_addresses(old, new):
                continue
            words = f"changed its address from {', '.join(old.addresses)} to {', '.join(new.addresses)}"
            self._reporter.happened(Problem(name, ADDRESS_CHANGED, f"{words}: its paths follow"))

    def in_force(self, settings: Settings, changes: int, seconds: float, problems: Sequence[str]) -> None:
        """The host is as the Nodes want it."""
        ranges = ",".join(str(one) for one in settings.pod_ranges)
        counts = f"peers={len(settings.peers)} changes={changes} ms={seconds * 1000:.1f}"
        unreachable = f" unreachable={len(problems)}" if problems else ""
        self._log.note(f"node {settings.name}: ranges={ranges} {counts}{unreachable}")
        self._reporter.network_is_up()
