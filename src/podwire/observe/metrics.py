"""The agent's metrics for Prometheus. docs/metrics.md lists them, with alerts.

Calls are recorded when they have been answered. What the kernel knows (pods, addresses) is read when it is asked for.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
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
        self._log = log
        self._loop = loop
        self._source = source
        self._networks = networks
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "podwire_cni_request_duration_seconds",
            "Time from a CNI request's arrival to its answer.",
            ["verb"],
            registry=self._registry,
            buckets=BUCKETS,
        )
        self._steps = Histogram(
            "podwire_cni_step_duration_seconds",
            "Time of one step of a CNI request.",
            ["verb", "step"],
            registry=self._registry,
            buckets=BUCKETS,
        )
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
        build = GaugeMetricFamily("podwire_build_info", "The agent's version; the value is 1.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._leases()
        yield self._peers()
        restored = CounterMetricFamily(
            "podwire_restored_objects",
            "Objects that the agent restored to their desired state.",
            labels=["kind", "reconciler"],
        )
        for labels, number in dict(self._loop.restored).items():
            restored.add_metric(labels, number)
        yield restored
        failing = GaugeMetricFamily(
            "podwire_reconciler_failing", "1 while what a reconciler keeps cannot be restored.", labels=["reconciler"]
        )
        for name, fails in self._loop.failing.items():
            failing.add_metric([name], fails)
        yield failing
        yield CounterMetricFamily(
            "podwire_log_lines_dropped",
            "Log lines that were dropped because the reader was too slow.",
            value=self._log.dropped,
        )
        if self._source is not None and (silent := self._source.silent_seconds()) is not None:
            yield GaugeMetricFamily(
                "podwire_kubernetes_watch_lag_seconds", "Time since the API server was last heard.", value=silent
            )
            yield GaugeMetricFamily(
                "podwire_kubernetes_bad_nodes", "Nodes that something is wrong with.", value=self._source.bad_nodes()
            )
            asked = CounterMetricFamily(
                "podwire_kubernetes_requests", "Requests to the API server.", labels=["method", "code"]
            )
            for labels, number in self._source.requests().items():
                asked.add_metric(labels, number)
            yield asked

    def _leases(self) -> Iterator[Metric]:
        """Yield the numbers of pods and addresses, from the kernel."""
        with Netlink() as socket:
            pods, taken = read_leases(socket, lambda: time.sleep(0))
        yield GaugeMetricFamily("podwire_pods", "Attachments of pods on this node.", value=pods)
        total = GaugeMetricFamily("podwire_addresses_total", "Addresses that can be leased.", labels=["range"])
        free = GaugeMetricFamily("podwire_addresses_free", "Addresses that are not leased.", labels=["range"])
        known = {
            range_ for network in self._networks.all() for group in network.config.range_sets for range_ in group.ranges
        }
        size: Tally[str] = Tally()
        used: Tally[str] = Tally()
        for range_ in known:
            size[str(range_.subnet)] += range_.size
            used[str(range_.subnet)] += sum(address in range_ for address in taken)
        for name, number in sorted(size.items()):
            total.add_metric([name], number)
            free.add_metric([name], max(number - used[name], 0))
        yield total
        yield free

    def _peers(self) -> Metric:
        """Peers by the path to them; a peer with both kinds of path counts as VXLAN."""
        peers = GaugeMetricFamily("podwire_peers", "Other nodes, by the path to their pods.", labels=["path"])
        tunnels = set(VXLAN_DEVICE.values())
        routes = self._loop.peer_routes
        kinds: Tally[bool] = Tally()
        for destinations in list(routes.destinations.values()):
            found = [route for route in map(routes.routes.get, destinations) if route]  # the loop may remove some now
            kinds[any(route.device in tunnels for route in found)] += 1
        peers.add_metric(["direct"], kinds[False])
        peers.add_metric(["vxlan"], kinds[True])
        peers.add_metric(["none"], max(self._loop.peers - kinds.total(), 0))
        return peers
