"""Runs a connectivity check: takes endpoints, returns a report. Lost packets are traced hop by hop."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from podwire.diagnose.endpoints import Endpoint, check_endpoints
from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool, completed
from podwire.diagnose.plan import plan
from podwire.diagnose.probe_runner import ProbeRunner
from podwire.diagnose.report import Report
from podwire.diagnose.servers import Servers
from podwire.diagnose.trace import Tracer

TIMEOUT_SECONDS = 1.5
AT_ONCE = 96
MAX_OPEN_FILES = 65536


def check(
    endpoints: Sequence[Endpoint],
    *,
    families: Sequence[int] = (4, 6),
    timeout_seconds: float = TIMEOUT_SECONDS,
    at_once: int = AT_ONCE,
    most_pods: int = 0,
) -> Report:
    """Check the connectivity between endpoints; `timeout_seconds` is for each answer.

    `at_once` is the number of probes in flight; `most_pods` the number of other pods that each pod calls, 0 for all.

    Raises EndpointError if a check of the endpoints is impossible, PermissionError without root.
    """
    check_endpoints(endpoints)
    start = time.monotonic()
    with _more_open_files(), Namespaces(endpoints) as namespaces, NamespaceThreadPool(namespaces, at_once) as pool:
        complete = completed(namespaces)
        probes = plan(complete, families, most_pods)
        called = dict.fromkeys((probe.target, probe.address) for probe in probes)
        by_name = {endpoint.name: endpoint for endpoint in complete}
        with Servers(namespaces, pool, [(by_name[name], address) for name, address in called]) as servers:
            outcomes = ProbeRunner(pool, by_name, servers.ports, timeout_seconds).run_all(probes)
        failures = Tracer(namespaces, pool, complete).diagnose(
            [outcome for outcome in outcomes if outcome.failed], timeout_seconds
        )
    return Report(complete, outcomes, failures, time.monotonic() - start)


@contextmanager
def _more_open_files() -> Iterator[None]:
    """Raise the limit of open files: two servers for each address and a socket for each probe exceed 1024."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(usual, min(most, MAX_OPEN_FILES)), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))
