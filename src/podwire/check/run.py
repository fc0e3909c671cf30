"""The check as a whole: endpoints in, a report out. What is lost is traced a second time, hop by hop."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from functools import partial

from podwire.check import prober
from podwire.check.endpoints import Endpoint, check_endpoints
from podwire.check.places import Crew, Places, completed
from podwire.check.probes import Outcome, Probe, plan
from podwire.check.report import Report
from podwire.check.servers import Servers
from podwire.check.tracing import Tracer

TIMEOUT_SECONDS = 1.5
AT_ONCE = 64
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
    _allow_descriptors()
    with Places(endpoints) as places, Crew(places, at_once) as crew:
        known = completed(places)
        probes = plan(known, families, most_pods)
        called = dict.fromkeys((one.target, one.address) for one in probes)
        by_name = {one.name: one for one in known}
        with Servers(places, crew, [(by_name[name], address) for name, address in called]) as servers:
            outcomes = _probe(crew, probes, by_name, servers, timeout_seconds)
        failures = Tracer(places, crew, known).diagnose([one for one in outcomes if one.failed], timeout_seconds)
    return Report(known, outcomes, failures, time.monotonic() - begun)


def _allow_descriptors() -> None:
    """Every address that is called has two servers, every probe in flight a socket: more than the usual 1024 files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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

    jobs = []
    for one in first:
        if one.method == "ping":
            jobs.append((one.source, partial(prober.ping, one, timeout_seconds)))
        elif one.method == "tcp":
            jobs.append((one.source, partial(prober.tcp, one, port(one, 0), timeout_seconds)))
        else:
            jobs.append((one.source, partial(prober.udp, one, port(one, 1), timeout_seconds)))
    found.update(zip(first, crew.all(jobs), strict=True))
    pinged = {one.pair for one, outcome in found.items() if one.method == "ping" and outcome.ok}
    large = [one for one in probes if one.method == "mtu" and one.pair in pinged]
    full_size = [
        (one.source, partial(prober.mtu, one, endpoints[one.source].mtu or DEFAULT_MTU, timeout_seconds))
        for one in large
    ]
    found.update(zip(large, crew.all(full_size), strict=True))
    return [found.get(one) or Outcome(one, "skipped", words="small packets do not pass") for one in probes]
