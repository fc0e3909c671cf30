"""All probes of a check, in parallel and in the right order: small packets, a second chance, full-size packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from podwire.diagnose import probe as prober
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.namespaces import Crew
from podwire.diagnose.plan import Outcome, Probe
from podwire.diagnose.servers import Key

PATIENT_LOSSES = 100
HURRIED_SECONDS = 0.5
FEW = 20
"""Where less than one probe in so many is lost, it may be this machine's own business: those are asked again."""

DEFAULT_MTU = 1500


class Asking:
    """Probes of one check. `ports` are the servers' (TCP, UDP) by the called endpoint and its address.

    When very much is lost already, less time is given to the rest: that it is lost, too, would be no surprise.
    """

    def __init__(
        self,
        crew: Crew,
        endpoints: Mapping[str, Endpoint],
        ports: Mapping[Key, tuple[int, int]],
        timeout_seconds: float,
    ) -> None:
        self._crew = crew
        self._endpoints = endpoints
        self._ports = ports
        self._seconds = timeout_seconds
        self._losses = 0

    def ask_all(self, probes: Sequence[Probe]) -> list[Outcome]:
        """An outcome for every probe, in order; full-size packets are sent only where small ones pass."""
        found = self._ask([one for one in probes if one.method != "mtu"])
        pinged = {one.pair for one, outcome in found.items() if one.method == "ping" and outcome.ok}
        found.update(self._ask([one for one in probes if one.method == "mtu" and one.pair in pinged]))
        return [found.get(one) or Outcome(one, "skipped", words="small packets do not pass") for one in probes]

    def _ask(self, probes: Sequence[Probe]) -> dict[Probe, Outcome]:
        found = self._once(probes)
        lost = [one for one, outcome in found.items() if outcome.status in ("lost", "black hole")]
        if len(lost) * FEW < len(probes):
            found.update(self._once(lost))
        return found

    def _once(self, probes: Sequence[Probe]) -> dict[Probe, Outcome]:
        jobs = [(one.source, partial(self._wait, one)) for one in probes]
        return dict(zip(probes, self._crew.all(jobs), strict=True))

    def _wait(self, one: Probe) -> Outcome:
        hurried = self._losses >= PATIENT_LOSSES
        try:
            outcome = self._job(one)(min(self._seconds, HURRIED_SECONDS) if hurried else self._seconds)
        except OSError as refused:  # the kernel has no such socket there: that is an answer as well
            outcome = Outcome(one, "lost", words=refused.strerror or "refused")
        self._losses += outcome.failed  # about right is enough: threads may count at once
        return outcome

    def _job(self, one: Probe) -> Callable[[float], Outcome]:
        port = self._endpoints[one.target].tcp_port
        tcp, udp = self._ports.get((one.target, one.address), (port, 0))
        if one.method == "ping":
            return partial(prober.ping, one)
        if one.method == "tcp":
            return partial(prober.tcp, one, tcp)
        if one.method == "udp":
            return partial(prober.udp, one, udp)
        return partial(prober.mtu, one, self._endpoints[one.source].mtu or DEFAULT_MTU)
