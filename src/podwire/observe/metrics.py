# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics for Prometheus. docs/metrics.md lists them, with alerts.

Calls are recorded when they have been answered. What the kernel knows (pods, addresses) is read when it is asked for.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily as _Count
from prometheus_client.metrics_core import GaugeMetricFamily as _Gauge
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from podwire import __version__
from podwire.cni.versions import VERBS
from podwire.datapath.peer import PeerRoutes
from podwire.datapath.vxlan import VXLAN_DEVICE
from podwire.ipam.leases import read_leases
from podwire.netlink.socket import Netlink
from podwire.observe.lines import error
from podwire.observe.log import AgentLog
from podwire.plugin.dispatch import Answer
from podwire.plugin.network import Networks

BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds: an ADD takes 2 ms; runtimes wait minutes for a sandbox."""

OTHER = "other"
SHOWN_FROM_THE_START = ("ADD", "DEL")


class Source(Protocol):
    """What the metrics ask the source of the settings (`node/source.py`)."""

    def silent_seconds(self) -> float | None: ...
    def requests(self) -> Mapping[tuple[str, str], int]: ...
    def bad_nodes(self) -> int: ...


class Loop(Protocol):
    """What the metrics ask the loop that keeps the host in its desired state (`node/loop.py`).

    `restored` has the number of changes by kind and by the reconciler's name.
    """

    @property
    def restored(self) -> Mapping[tuple[str, str], int]: ...
    @property
    def failing(self) -> Mapping[str, bool]: ...
    @property
    def peers(self) -> int: ...
    @property
    def peer_routes(self) -> PeerRoutes: ...


class Metrics(Collector):
    """Records CNI calls; everything else is collected for each request."""

    def __init__(self, log: AgentLog, loop: Loop, source: Source | None, networks: Networks) -> None:
        self._log, self._loop, self._source, self._networks = log, loop, source, networks
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self._registry, "buckets": BUCKETS}
        words = "Time from a CNI request's arrival to its answer."
        self._calls = Histogram("podwire_cni_request_duration_seconds", words, ["verb"], **options)
        words = "Time of one step of a CNI request."
        self._steps = Histogram("podwire_cni_step_duration_seconds", words, ["verb", "step"], **options)
        self._failures = Counter(
            "podwire_cni_failures", "CNI requests that were refused.", ["verb", "code"], registry=self._registry
        )
        self._call_of = {verb: self._calls.labels(verb) for verb in SHOWN_FROM_THE_START}
        self._step_of: dict[tuple[str, str], Histogram] = {}
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def record(self, verb: str, answer: Answer, took: float, phases: Sequence[tuple[str, float]]) -> None:
        """Record an answered call; times in seconds."""
        if verb not in VERBS:
            verb = OTHER
        call = self._call_of.get(verb)
        if call is None:
            call = self._call_of[verb] = self._calls.labels(verb)
        call.observe(took)
        for step, seconds in phases:
            one = self._step_of.get((verb, step))
            if one is None:
                one = self._step_of[verb, step] = self._steps.labels(verb, step)
            one.observe(seconds)
        if answer.status:
            self._failures.labels(verb, str(error(answer)[0])).inc()

    def page(self, accept: str) -> tuple[str, bytes]:
        """All metrics in the format that an Accept header asks for: content type and text."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: to register this, the kernel need not be read."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what is counted elsewhere or read from the kernel."""
        yield _family(
            _Gauge, "podwire_build_info", "The agent's version; the value is 1.", ["version"], {(__version__,): 1}
        )
        yield from self._leases()
        yield self._peers()
        words, restored = "Objects that the agent restored to their desired state.", dict(self._loop.restored)
        yield _family(_Count, "podwire_restored_objects", words, ["kind", "reconciler"], restored)
        words = "1 while what a reconciler keeps cannot be restored."
        failing = {(name,): fails for name, fails in self._loop.failing.items()}
        yield _family(_Gauge, "podwire_reconciler_failing", words, ["reconciler"], failing)
        words = "Log lines that were dropped because the reader was too slow."
        yield _family(_Count, "podwire_log_lines_dropped", words, (), {(): self._log.dropped})
        if self._source is not None and (silent := self._source.silent_seconds()) is not None:
            words = "Time since the API server was last heard."
            yield _family(_Gauge, "podwire_kubernetes_watch_lag_seconds", words, (), {(): silent})
            words = "Nodes that something is wrong with."
            yield _family(_Gauge, "podwire_kubernetes_bad_nodes", words, (), {(): self._source.bad_nodes()})
            words, requests = "Requests to the API server.", self._source.requests()
            yield _family(_Count, "podwire_kubernetes_requests", words, ["method", "code"], requests)

    def _leases(self) -> Iterator[Metric]:
        """Pods and addresses, from the kernel."""
        with Netlink() as socket:
            pods, taken = read_leases(socket, lambda: time.sleep(0))
        yield _family(_Gauge, "podwire_pods", "Attachments of pods on this node.", (), {(): pods})
        sets = [group for network in self._networks.all() for group in network.config.range_sets]
        size: Tally[tuple[str]] = Tally()
        used: Tally[tuple[str]] = Tally()
        for range_ in {range_ for group in sets for range_ in group.ranges}:
            size[str(range_.subnet),] += range_.size
            used[str(range_.subnet),] += sum(address in range_ for address in taken)
        total = dict(sorted(size.items()))
        free = {name: max(number - used[name], 0) for name, number in total.items()}
        yield _family(_Gauge, "podwire_addresses_total", "Addresses that can be leased.", ["range"], total)
        yield _family(_Gauge, "podwire_addresses_free", "Addresses that are not leased.", ["range"], free)

    def _peers(self) -> Metric:
        """Peers by the path to them; a peer with both kinds of path counts as VXLAN."""
        tunnels, routes = set(VXLAN_DEVICE.values()), self._loop.peer_routes
        kinds: Tally[bool] = Tally()
        for destinations in list(routes.destinations.values()):
            found = [route for route in map(routes.routes.get, destinations) if route]  # the loop may remove some now
            kinds[any(route.device in tunnels for route in found)] += 1
        none = max(self._loop.peers - kinds.total(), 0)
        paths = {("direct",): kinds[False], ("vxlan",): kinds[True], ("none",): none}
        return _family(_Gauge, "podwire_peers", "Other nodes, by the path to their pods.", ["path"], paths)


def _family(
    kind: type[_Gauge | _Count], name: str, words: str, labels: Sequence[str], values: Mapping[Any, float]
) -> Metric:
    family = kind(name, words, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
