# SPDX-License-Identifier: Apache-2.0
"""Runs a connectivity check: takes endpoints, returns a report. Lost packets are traced hop by hop."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from podwire.diagnose.endpoints import Endpoint, check_endpoints
from podwire.diagnose.namespaces import Namespaces, NamespaceThreadPool, completed
from podwire.diagnose.plan import plan
from podwire.diagnose.probe_runner import ProbeRunner
from podwire.diagnose.report import Report
from podwire.diagnose.servers import Servers
from podwire.diagnose.trace import Tracer

TIMEOUT_SECONDS = 1.5
AT_ONCE = 96  # probes in flight
MAX_OPEN_FILES = 65536


def check(
    endpoints: Sequence[Endpoint],
    *,
    families: Sequence[int] = (4, 6),
    timeout_seconds: float = TIMEOUT_SECONDS,
    most_pods: int = 0,
) -> Report:
    """Check the connectivity between endpoints; `timeout_seconds` is for each answer.

    Each pod calls at most `most_pods` other pods, 0: all.

    Raises EndpointError if a check of the endpoints is impossible, PermissionError without root.
    """
    check_endpoints(endpoints)
    start = time.monotonic()
    with (
        _more_open_files(),
        closing(Namespaces(endpoints)) as namespaces,
        NamespaceThreadPool(namespaces, AT_ONCE) as pool,
    ):
        complete = completed(namespaces)
        probes = plan(complete, families, most_pods)
        called = dict.fromkeys((probe.target, probe.address) for probe in probes)
        by_name = {endpoint.name: endpoint for endpoint in complete}
        with closing(Servers(namespaces, pool, called)) as servers:
            outcomes = ProbeRunner(pool, by_name, servers.ports, timeout_seconds).run_all(probes)
        failed = [outcome for outcome in outcomes if outcome.failed]
        failures = Tracer(namespaces, pool, complete).diagnose(failed, timeout_seconds)
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
