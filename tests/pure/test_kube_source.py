# SPDX-License-Identifier: Apache-2.0
"""The settings source for Kubernetes: what the loop is told of changed Nodes and of a changed file."""

from __future__ import annotations

import io
import select
from pathlib import Path

import pytest

from podwire import __version__
from podwire.kube import source as source_module
from podwire.kube.objects import NodeInfo
from podwire.kube.source import KubernetesSource
from podwire.observe.events import Problem
from podwire.observe.log import AgentLog

OWN = NodeInfo("own", "2026", ("192.168.33.10",), ("10.244.0.0/24",))


class NoApi:
    """Stands for an API server that is never asked: the tests put Nodes into the cache themselves."""

    server = "https://none"

    def __init__(self, kubeconfig: Path | None) -> None:
        self.requests = {("GET", "200"): 1}


def peer(number: int, address: str = "", cidr: str = "") -> NodeInfo:
    return NodeInfo(f"n{number}", "2026", (address or f"192.168.33.{10 + number}",), (cidr or f"10.244.{number}.0/24",))


class Bench:
    """A source, its file, and the Nodes that its informer has received."""

    def __init__(self, folder: Path) -> None:
        self.file, self.log = folder / "podwire.toml", io.StringIO()
        self.write("mtu = 1400\n")
        self.source = KubernetesSource("own", self.file, None, AgentLog(self.log))
        self.events: list[Problem] = []

    def write(self, text: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(text)
        beside.rename(self.file)

    def listed(self, *infos: NodeInfo) -> None:
        self.source._note_changed(self.source._cache.replace({info.name: info for info in infos}))

    def put(self, name: str, info: NodeInfo | None) -> None:
        if self.source._cache.put(name, info):
            self.source._note_changed((name,))

    def readable(self) -> bool:
        return bool(select.select([self.source.descriptor], [], [], 0)[0])

    def problems(self) -> dict[str, str]:
        return {node.name: node.problem for node in self.source.nodes() if node.problem}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(source_module, "Api", NoApi)
    bench = Bench(tmp_path)
    monkeypatch.setattr(bench.source._reporter, "record_event", bench.events.append)
    return bench


@pytest.fixture
def running(bench: Bench) -> Bench:
    """A source whose first change was taken: this node and two peers."""
    bench.listed(OWN, peer(1), peer(2))
    change = bench.source.changes()
    assert change is not None and change.complete and set(change.upserted) == {"n1", "n2"}
    assert change.settings is not None and change.settings.mtu == 1400 and change.settings.name == "own"
    return bench


def test_nothing_is_said_before_the_first_whole_list(bench: Bench) -> None:
    assert bench.source.changes() is None and bench.problems() == {} and bench.source.bad_nodes() == 0
    assert "https://none has not answered yet" in bench.source.unknown_reason()
    bench.listed()
    assert bench.readable() and bench.source.changes() is None and not bench.readable()
    assert "NodeMissing" in bench.source.unknown_reason() and bench.source.bad_nodes() == 1


def test_peers_wait_until_this_node_has_a_pod_cidr(bench: Bench) -> None:
    bench.listed(NodeInfo("own", "2026", OWN.addresses, ()), peer(1))
    assert bench.source.changes() is None and "PodCIDRNotAssigned" in bench.source.unknown_reason()
    bench.put("n2", peer(2))
    assert bench.source.changes() is None
    bench.put("own", OWN)
    change = bench.source.changes()
    assert change is not None and change.complete and set(change.upserted) == {"n1", "n2"}
    assert bench.source.unknown_reason() == "" and bench.problems() == {}


@pytest.mark.parametrize("others", range(8))
def test_this_node_takes_no_pod_cidr_that_an_older_node_in_the_same_list_has(bench: Bench, others: int) -> None:
    older = NodeInfo(f"older-{others}", "2025", ("192.168.34.1",), OWN.pod_cidrs)
    bench.listed(OWN, older, *(peer(number) for number in range(1, 1 + others)))
    assert bench.source.changes() is None and "PodCIDRConflict" in bench.source.unknown_reason()


def test_a_change_names_the_changed_peers_alone(running: Bench) -> None:
    assert running.source.changes() is None
    running.put("n3", peer(3))
    running.put("n1", None)
    change = running.source.changes()
    assert change is not None and not change.complete and change.settings is None
    assert set(change.upserted) == {"n3"} and change.removed == {"n1"}
    running.put("n3", None)
    running.put("n3", peer(3))
    assert running.source.changes() is None, "gone and there again, between two looks"


def test_another_version_of_an_agent_changes_no_route(running: Bench) -> None:
    first = peer(1)
    running.put("n1", NodeInfo(first.name, first.created, first.addresses, first.pod_cidrs, "9.9", network_up=True))
    assert running.readable() and running.source.changes() is None
    assert {node.name: node.version for node in running.source.nodes()}["n1"] == "9.9"


def test_a_bad_node_is_a_problem_and_its_end_is_the_end_of_it(running: Bench) -> None:
    running.put("n1", peer(1, cidr="10.99.0.0/24"))
    change = running.source.changes()
    assert change is not None and change.removed == {"n1"} and not change.upserted
    assert "PodCIDROutsideCluster" in running.problems()["n1"] and running.source.bad_nodes() == 1
    running.put("n1", peer(1))
    change = running.source.changes()
    assert change is not None and set(change.upserted) == {"n1"} and running.problems() == {}


def test_this_node_keeps_its_part_while_its_node_is_gone(running: Bench) -> None:
    running.put("own", None)
    running.put("n3", peer(3))
    change = running.source.changes()
    assert change is not None and change.settings is None and set(change.upserted) == {"n3"}
    own = running.source.nodes()[0]
    assert (own.name, list(own.pod_cidrs), own.version) == ("own", ["10.244.0.0/24"], __version__)
    assert "NodeMissing" in own.problem and running.source.unknown_reason() == ""
    running.put("own", NodeInfo("own", "2027", OWN.addresses, ("10.244.9.0/24",)))
    change = running.source.changes()
    assert change is not None and change.settings is not None and str(change.settings.pod_cidrs[0]) == "10.244.9.0/24"


def test_a_changed_address_is_an_event(running: Bench) -> None:
    running.put("n1", peer(1, address="192.168.33.77"))
    change = running.source.changes()
    assert change is not None and str(change.upserted["n1"].addresses[0]) == "192.168.33.77"
    (event,) = running.events
    assert (event.node, event.reason) == ("n1", "AddressChanged")
    assert "from 192.168.33.11 to 192.168.33.77" in event.message
    running.put("n1", None)
    assert running.source.changes() is not None and len(running.events) == 1


def test_a_changed_file_is_new_settings_and_the_whole_set_of_peers(running: Bench) -> None:
    running.write("mtu = 1300\n")
    assert running.readable()
    change = running.source.changes()
    assert change is not None and change.complete and set(change.upserted) == {"n1", "n2"}
    assert change.settings is not None and change.settings.mtu == 1300 and not running.readable()
    running.write("mtu = 1300  # the same\n")
    assert running.source.changes() is None
    running.write("mtu = 3\n")
    assert running.source.changes() is None and "the last settings stay in force" in running.log.getvalue()
    running.put("n1", None)
    change = running.source.changes()
    assert change is not None and change.removed == {"n1"} and change.settings is None


def test_a_file_without_this_nodes_pod_cidr_changes_nothing(running: Bench) -> None:
    running.write('cluster_cidrs = ["10.99.0.0/16"]\n')
    assert running.source.changes() is None and "PodCIDROutsideCluster" in running.problems()["own"]
    running.put("n3", peer(3))
    assert running.source.changes() is None
    running.write("mtu = 1400\n")
    change = running.source.changes()
    assert change is not None and change.complete and set(change.upserted) == {"n1", "n2", "n3"}
    assert running.problems() == {}


def test_the_old_key_is_named_as_deprecated_once(running: Bench) -> None:
    for mtu in (1300, 1310):
        running.write(f'cluster_ranges = ["10.244.0.0/16"]\nmtu = {mtu}\n')
        assert running.source.changes() is not None
    assert running.log.getvalue().count("cluster_ranges is deprecated") == 1
