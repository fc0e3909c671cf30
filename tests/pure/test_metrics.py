# SPDX-License-Identifier: Apache-2.0
"""Metrics: every name is documented, what calls cost, and hostile verbs do not become labels."""

from __future__ import annotations

import io
import re
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podwire.cni.errors import CniError
from podwire.datapath.peer import PeerRoutes
from podwire.netlink.operations import AddRoute
from podwire.observe import metrics
from podwire.observe.log import AgentLog
from podwire.observe.metrics import Metrics
from podwire.plugin.dispatch import Answer, refusal
from podwire.plugin.network import Networks

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


class Heard:
    """A source that is an API server, as far as metrics ask it."""

    def silent_seconds(self) -> float:
        return 2.5

    def bad_nodes(self) -> int:
        return 1

    def requests(self) -> dict[tuple[str, str], int]:
        return {("GET", "200"): 3}


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.setattr(metrics, "read_leases", lambda socket, yield_now: (0, []))
    routes = PeerRoutes()
    for number, (peer, device) in enumerate((("a", "eth0"), ("b", "eth0"), ("b", "podwire-vx6"))):
        routes.add(peer, AddRoute(device, ip_network(f"10.244.{number}.0/24"), None))
    loop: Any = SimpleNamespace(restored={("route", "peers"): 1}, failing={"peers": False}, peers=3, peer_routes=routes)
    log, source = AgentLog(io.StringIO()), Heard()
    return Metrics(log, loop, source, Networks())


def families(found: Metrics) -> dict[str, Any]:
    kind, page = found.page("text/plain")
    assert kind.startswith("text/plain")
    return {family.name: family for family in text_string_to_metric_families(page.decode())}


def test_every_metric_is_documented_and_every_documented_one_is_there(collected: Metrics) -> None:
    names = set()
    found = families(collected)
    assert found
    for name, one in found.items():
        assert one.documentation.endswith("."), name
        names.add(f"{name}_total" if one.type == "counter" else name)
    ours = {name for name in names if not name.startswith("process_")}
    rows = "\n".join(line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `podwire_"))
    assert ours == set(re.findall(r"podwire_\w+", rows))
    assert set(re.findall(r"podwire_\w+", PAGE)) - ours <= {f"{name}_bucket" for name in ours}, (
        "rules name what is there"
    )


def test_a_node_counts_once_and_the_worse_path_counts(collected: Metrics) -> None:
    peers = {sample.labels["path"]: sample.value for sample in families(collected)["podwire_peers"].samples}
    assert peers == {"direct": 1, "vxlan": 1, "none": 1}


def test_verbs_from_outside_do_not_become_labels(collected: Metrics) -> None:
    for number in range(50):
        collected.record(f"X{number}", refusal(CniError(4, "no"), b""), 0.001, [])
    collected.record("ADD", Answer(0, b"{}"), 0.0015, [("lease", 0.001)])
    found = families(collected)
    counts = {
        sample.labels["verb"]: sample.value
        for sample in found["podwire_cni_request_duration_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert counts == {"ADD": 1, "DEL": 0, "other": 50}
    (failed,) = found["podwire_cni_failures"].samples
    assert failed.labels == {"verb": "other", "code": "4"} and failed.value == 50
