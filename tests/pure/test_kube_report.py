# SPDX-License-Identifier: Apache-2.0
"""What is told to the API server, when, and how often."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import pytest

from podwire import __version__
from podwire.kube.client import ApiError
from podwire.kube.informer import Cache
from podwire.kube.objects import NETWORK_UP_REASON, NodeInfo
from podwire.kube.reporter import AGAIN_SECONDS, MOST_EVENTS, PATCH_AGAIN_SECONDS, PATIENCE_SECONDS, Reporter
from podwire.observe.events import Problem
from podwire.observe.log import AgentLog

OWN = Problem("own", "PodCIDRNotAssigned", "has no podCIDR")
PEER = Problem("peer", "PodCIDRNotAssigned", "has no podCIDR")


class Told:
    """Stands for the API server: keeps what it was told, refuses if asked to."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.refuse = 0
        self.annotations: Mapping[str, str] = {}

    def _take(self, what: str, body: Mapping[str, Any]) -> None:
        if self.refuse:
            raise ApiError(self.refuse, "no")
        self.done.append((what, body))

    def patch_node_status(self, node: str, status: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
        self._take(f"status {node}", status)
        self.annotations = annotations

    def create_event(self, event: Mapping[str, Any]) -> None:
        self._take("event", event)

    def patch_event(self, name: str, changes: Mapping[str, Any]) -> None:
        self.done.append((f"again {name}", changes))


class Bench:
    """A reporter, its clock, and what it said."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told, self.log, self.cache = Told(), io.StringIO(), Cache[NodeInfo]()
        self.reporter = Reporter(self.told, "own", self.cache, AgentLog(self.log), lambda: self.now)  # type: ignore[arg-type]

    def after(self, seconds: float) -> list[tuple[str, Any]]:
        """What is told when so much time has passed."""
        self.now += seconds
        self.told.done.clear()
        self.reporter.step()
        return list(self.told.done)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_does_not_last_is_not_told(bench: Bench) -> None:
    bench.reporter.set_problems({"own": [OWN]})
    assert bench.after(PATIENCE_SECONDS / 2) == []
    bench.reporter.set_problems({"own": []})
    assert bench.after(PATIENCE_SECONDS) == [] and bench.log.getvalue() == ""


def test_what_lasts_is_told_once_and_again_before_it_is_forgotten(bench: Bench) -> None:
    bench.reporter.set_problems({"own": [OWN]})
    told = bench.after(PATIENCE_SECONDS)
    assert [what for what, _ in told] == ["event"] and told[0][1]["reason"] == "PodCIDRNotAssigned"
    assert bench.after(60) == []
    assert [what for what, _ in bench.after(AGAIN_SECONDS)] == ["event"]
    assert bench.log.getvalue().count("PodCIDRNotAssigned") == 1
    bench.reporter.set_problems({"own": []})
    assert "over: PodCIDRNotAssigned" in bench.log.getvalue()


def test_an_event_that_is_there_is_counted(bench: Bench) -> None:
    bench.told.refuse = 409
    bench.reporter.set_problems({"own": [OWN], "peer": [PEER]})
    assert [what.partition(" ")[0] for what, _ in bench.after(PATIENCE_SECONDS) + bench.after(1)] == ["again"]


def test_what_cannot_be_told_now_is_told_later_and_logged_once(bench: Bench) -> None:
    bench.told.refuse = 503
    bench.reporter.set_problems({"own": [OWN]})
    for _ in range(3):
        with pytest.raises(ApiError, match=r"^no$"):
            bench.after(PATIENCE_SECONDS)
    bench.told.refuse = 0
    assert len(bench.after(1)) == 1 and bench.log.getvalue().count("PodCIDRNotAssigned") == 1


def test_what_is_never_taken_does_not_keep_the_rest(bench: Bench) -> None:
    bench.told.refuse = 422
    bench.reporter.set_problems({"own": [OWN]})
    assert bench.after(PATIENCE_SECONDS) == []
    bench.told.refuse = 0
    bench.reporter.record_event(Problem("own", "AddressChanged", "moved"))
    assert [body["reason"] for _, body in bench.after(1)] == ["AddressChanged"]
    assert bench.after(AGAIN_SECONDS * 3)[0][1]["reason"] == "PodCIDRNotAssigned"


def test_many_bad_peers_do_not_make_many_events(bench: Bench) -> None:
    names = [f"n{number}" for number in range(100)]
    bench.reporter.set_problems({name: [Problem(name, "PodCIDRNotAssigned", "none")] for name in names})
    bench.after(PATIENCE_SECONDS)
    assert len(bench.after(60)) == MOST_EVENTS and bench.log.getvalue().count("PodCIDRNotAssigned") == 100


def test_problems_of_other_nodes_stay_until_they_are_named_again(bench: Bench) -> None:
    bench.reporter.set_problems({"own": [OWN]})
    bench.reporter.set_problems({"peer": [PEER], "other": []})
    bench.after(PATIENCE_SECONDS)
    assert bench.log.getvalue().count("PodCIDRNotAssigned") == 2
    bench.reporter.set_problems({"peer": []})
    assert bench.log.getvalue().count("over:") == 1 and "node peer: over" in bench.log.getvalue()


def test_the_condition_is_set_when_the_network_is_up_and_set_again(bench: Bench) -> None:
    def own(*, network_up: bool, version: str = "") -> NodeInfo:
        return NodeInfo("own", "", (), (), version, network_up)

    bench.cache.put("own", own(network_up=False))
    assert bench.after(1) == []
    bench.reporter.network_is_up()
    ((what, status),) = bench.after(1)
    assert what == "status own" and status["conditions"][0]["reason"] == NETWORK_UP_REASON
    assert bench.after(1) == [] and bench.reporter.sleep_seconds() <= PATCH_AGAIN_SECONDS
    assert bench.told.annotations == {"podwire.dev/version": __version__}
    bench.cache.put("own", own(network_up=True))
    assert bench.after(PATCH_AGAIN_SECONDS) == []
    bench.cache.put("own", own(network_up=False))
    assert [what for what, _ in bench.after(1)] == ["status own"]


def test_a_new_version_is_told_once_and_the_condition_is_left_alone(bench: Bench) -> None:
    bench.cache.put("own", NodeInfo("own", "", (), (), "0.0.1", network_up=True))
    bench.reporter.network_is_up()
    assert bench.after(1) == [("status own", {})]
    assert bench.told.annotations == {"podwire.dev/version": __version__}
    assert bench.after(PATCH_AGAIN_SECONDS) == [], "a server that does not accept it is not sent it again"
