"""The check as a whole: endpoints in, a report out. What is lost is traced a second time, hop by hop."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from podwire.check import prober
from podwire.check.endpoints import Endpoint, check_endpoints
from podwire.check.places import Crew, Places, completed
from podwire.check.probes import Outcome, Probe, plan
from podwire.check.report import Report
from podwire.check.servers import Servers
from podwire.check.tracing import Tracer

TIMEOUT_SECONDS = 1.5
AT_ONCE = 96
PATIENT_LOSSES = 100
HURRIED_SECONDS = 0.5
MOST_FILES = 65536
DEFAULT_MTU = 1500


def check(
    endpoints: Sequence[Endpoint],
    *,
    families: Sequence[int] = (4, 6),
    timeout_seconds: float = TIMEOUT_SECONDS,
    at_once: int = AT_ONCE,
    most_pods: int = 0,
) -> Report:
    """Check everything between the endpoints; `timeout_seconds` is for each answer, `at_once` the probes in flight.

    `most_pods`: how many other pods each pod calls, 0 for all of them.

    Raises EndpointError for endpoints that make no check, PermissionError without root.
    """
    check_endpoints(endpoints)
    begun = time.monotonic()
    with _many_files(), Places(endpoints) as places, Crew(places, at_once) as crew:
        known = completed(places)
        probes = plan(known, families, most_pods)
        called = dict.fromkeys((one.target, one.address) for one in probes)
        by_name = {one.name: one for one in known}
        with Servers(places, crew, [(by_name[name], address) for name, address in called]) as servers:
            outcomes = _probe(crew, probes, by_name, servers, timeout_seconds)
        failures = Tracer(places, crew, known).diagnose([one for one in outcomes if one.failed], timeout_seconds)
    return Report(known, outcomes, failures, time.monotonic() - begun)


@contextmanager
def _many_files() -> Iterator[None]:
    """Every address that is called has two servers, every probe in flight a socket: more than the usual 1024 files."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(usual, min(most, MOST_FILES)), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


class Patience:
    """How long to wait for an answer: when very much is lost already, that the rest is lost is no surprise."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._losses = 0

    def wait(self, probe: Callable[[float], Outcome]) -> Outcome:
        """Run a probe with the time that is left to it."""
        hurried = self._losses >= PATIENT_LOSSES
        outcome = probe(min(self._seconds, HURRIED_SECONDS) if hurried else self._seconds)
        self._losses += outcome.status != "ok"  # about right is enough: threads may count at once
        return outcome


def _probe(
    crew: Crew,
    probes: Sequence[Probe],
    endpoints: dict[str, Endpoint],
    servers: Servers,
    timeout_seconds: float,
) -> list[Outcome]:
    """All probes; full-size packets come last, and only where small ones pass."""
    first = [one for one in probes if one.method != "mtu"]
    found: dict[Probe, Outcome] = {}

    def port(one: Probe, place: int) -> int:
        ports = servers.ports.get((one.target, one.address))
        return ports[place] if ports else endpoints[one.target].tcp_port

    def job(one: Probe) -> Callable[[float], Outcome]:
        if one.method == "ping":
            return partial(prober.ping, one)
        if one.method == "tcp":
            return partial(prober.tcp, one, port(one, 0))
        return partial(prober.udp, one, port(one, 1))

    patience = Patience(timeout_seconds)
    jobs = [(one.source, partial(patience.wait, job(one))) for one in first]
    found.update(zip(first, crew.all(jobs), strict=True))
    pinged = {one.pair for one, outcome in found.items() if one.method == "ping" and outcome.ok}
    large = [one for one in probes if one.method == "mtu" and one.pair in pinged]
    full_size = [
        (one.source, partial(patience.wait, partial(prober.mtu, one, endpoints[one.source].mtu or DEFAULT_MTU)))
        for one in large
    ]
    found.update(zip(large, crew.all(full_size), strict=True))
    return [found.get(one) or Outcome(one, "skipped", words="small packets do not pass") for one in probes]
