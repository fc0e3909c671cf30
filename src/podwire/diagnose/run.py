"""The check as a whole: endpoints in, a report out. What is lost is traced a second time, hop by hop."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from podwire.diagnose.endpoints import Endpoint, check_endpoints
from podwire.diagnose.namespaces import Crew, Places, completed
from podwire.diagnose.plan import plan
from podwire.diagnose.probe_runner import Asking
from podwire.diagnose.report import Report
from podwire.diagnose.servers import Servers
from podwire.diagnose.trace import Tracer

TIMEOUT_SECONDS = 1.5
AT_ONCE = 96
MOST_FILES = 65536


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
            outcomes = Asking(crew, by_name, servers.ports, timeout_seconds).ask_all(probes)
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
