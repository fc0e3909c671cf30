# SPDX-License-Identifier: Apache-2.0
"""Runs all probes of a check in parallel: small packets first, lost probes a second time, then full-size packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from podwire.diagnose import probe_methods
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.namespaces import NamespaceThreadPool
from podwire.diagnose.plan import Outcome, Probe
from podwire.diagnose.servers import Key

MANY_LOSSES = 100
SHORT_TIMEOUT_SECONDS = 0.5
FEW_LOSSES = 20
"""If fewer than 1 of this many probes are lost, the machine may only be busy: the lost probes run again."""

DEFAULT_MTU = 1500


class ProbeRunner:
    """Runs the probes of a check. `ports` are the servers' (TCP, UDP) ports by endpoint and address.

    After many losses the timeout of the other probes is shorter: most of them are lost as well.
    """

    def __init__(
        self,
        pool: NamespaceThreadPool,
        endpoints: Mapping[str, Endpoint],
        ports: Mapping[Key, tuple[int, int]],
        timeout_seconds: float,
    ) -> None:
        self._pool = pool
        self._endpoints = endpoints
        self._ports = ports
        self._seconds = timeout_seconds
        self._losses = 0

    def run_all(self, probes: Sequence[Probe]) -> list[Outcome]:
        """An outcome for each probe, in order; full-size packets are sent only where small packets pass."""
        found = self._run([probe for probe in probes if probe.method != "mtu"])
        pinged = {probe.pair for probe, outcome in found.items() if probe.method == "ping" and outcome.ok}
        found.update(self._run([probe for probe in probes if probe.method == "mtu" and probe.pair in pinged]))
        return [found.get(probe) or Outcome(probe, "skipped", words="small packets do not pass") for probe in probes]

    def _run(self, probes: Sequence[Probe]) -> dict[Probe, Outcome]:
        found = self._once(probes)
        lost = [probe for probe, outcome in found.items() if outcome.status in ("lost", "black hole")]
        if len(lost) * FEW_LOSSES < len(probes):
            found.update(self._once(lost))
        return found

    def _once(self, probes: Sequence[Probe]) -> dict[Probe, Outcome]:
        jobs = [(probe.source, partial(self._run_probe, probe)) for probe in probes]
        return dict(zip(probes, self._pool.run_all(jobs), strict=True))

    def _run_probe(self, probe: Probe) -> Outcome:
        many_lost = self._losses >= MANY_LOSSES
        try:
            outcome = self._method(probe)(min(self._seconds, SHORT_TIMEOUT_SECONDS) if many_lost else self._seconds)
        except OSError as refused:  # the namespace has no such family
            outcome = Outcome(probe, "lost", words=refused.strerror or "refused")
        self._losses += outcome.failed  # an estimate: threads update it without a lock
        return outcome

    def _method(self, probe: Probe) -> Callable[[float], Outcome]:
        port = self._endpoints[probe.target].tcp_port
        tcp, udp = self._ports.get((probe.target, probe.address), (port, 0))
        if probe.method == "ping":
            return partial(probe_methods.ping, probe)
        if probe.method == "tcp":
            return partial(probe_methods.tcp, probe, tcp)
        if probe.method == "udp":
            return partial(probe_methods.udp, probe, udp)
        return partial(probe_methods.mtu, probe, self._endpoints[probe.source].mtu or DEFAULT_MTU)
