# SPDX-License-Identifier: Apache-2.0
"""The report of a check: tables, JSON and JUnit."""

from __future__ import annotations

import io
from ipaddress import ip_address
from xml.etree import ElementTree

import msgspec
from rich.console import Console

from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.junit import junit
from podwire.diagnose.matrix import show
from podwire.diagnose.packet_loss import Cause
from podwire.diagnose.plan import METHODS, Outcome, Probe, Status
from podwire.diagnose.report import Failure, Report, group_outcomes
from podwire.record import replace

CAUSE = Cause("n", "n does not forward", ("sysctl", "net.ipv4.ip_forward"), "enable forwarding")


def outcome(source: str, target: str, method: str, status: Status = "ok", address: str = "10.1.0.9") -> Outcome:
    assert method in METHODS
    return Outcome(Probe(source, target, ip_address(address), method), status, 0.001)


def pods(count: int) -> list[Endpoint]:
    return [Endpoint(f"pod-{number}", "pod", f"n{number % 2}", (), "/x") for number in range(count)]


def report(*bad: tuple[str, Status], count: int = 3) -> Report:
    """Every pod calls every other pod; `bad` are the methods that fail from the first pod to the second."""
    endpoints = pods(count)
    status = dict(bad)
    outcomes = [
        outcome(source.name, target.name, method, status.get(method, "ok") if pair == (0, 1) else "ok")
        for first, source in enumerate(endpoints)
        for second, target in enumerate(endpoints)
        if first != second
        for pair in [(first, second)]
        for method in METHODS
    ]
    groups = group_outcomes([outcome for outcome in outcomes if outcome.failed])
    failures = [Failure.of(group, "in n", CAUSE, ("n pw1 in a > b",)) for group in groups]
    return Report(endpoints, outcomes, failures, 1.25)


def printed(made: Report, width: int = 120) -> str:
    out = io.StringIO()
    show(made, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def test_a_green_report_is_a_matrix_and_one_line() -> None:
    text = printed(report())
    assert text.count("✓") == 3 * 2 + 1 and "✗" not in text
    assert text.splitlines()[-1] == "✓ all of 24 probes in 1.2 s passed"


def test_failures_are_grouped_by_kind_and_shown_with_cause_and_next_step() -> None:
    made = report(("ping", "lost"), ("tcp", "refused"), ("udp", "source"), ("mtu", "black hole"))
    assert [failure.methods for failure in made.failures] == [("ping", "tcp"), ("udp",), ("mtu",)]
    text = printed(made)
    assert "✗ptms" in text and "cause: n does not forward" in text
    assert "see: sysctl net.ipv4.ip_forward" in text and "next: enable forwarding" in text
    assert text.splitlines()[-1] == "✗ 4 of 24 probes in 1.2 s failed"


def test_the_same_cause_is_shown_once() -> None:
    made = report()
    failures = [
        Failure.of([outcome(f"pod-{number}", "pod-9", "ping", "lost")], "in n", CAUSE, ()) for number in range(5)
    ]
    text = printed(replace(made, failures=failures))
    assert text.count("does not forward") == 1 and "and 4 more failures with this cause" in text


def test_a_skipped_probe_is_no_failure_and_does_not_count_as_passed() -> None:
    made = report(("ping", "lost"), ("mtu", "skipped"))
    assert made.document()["failed"] == 1
    assert ElementTree.fromstring(junit(made)).attrib["skipped"] == "1"  # noqa: S314 -- our own


def test_json_has_the_same_fields_as_the_tables() -> None:
    document = report(("ping", "lost")).document()
    assert not document["ok"] and document["seconds"] == 1.25 and document["probes"] == 24
    (failure,) = document["failures"]
    assert failure["hop"] == "in n" and failure["at"] == "n" and failure["next"] == "enable forwarding"
    assert failure["command"] == "sysctl net.ipv4.ip_forward" and failure["seen"] == ["n pw1 in a > b"]
    assert msgspec.json.encode(document)


def test_junit_has_a_case_for_every_probe() -> None:
    root = ElementTree.fromstring(junit(report(("ping", "lost"))))  # noqa: S314 -- our own
    assert root.attrib["tests"] == "24" and root.attrib["failures"] == "1"
    assert len(root.findall("testsuite")) == 3 and len(root.findall(".//testcase")) == 24
    (failure,) = root.findall(".//failure")
    assert failure.attrib["message"].startswith("pod-0 → pod-1") and "enable forwarding" in (failure.text or "")


def test_a_narrow_terminal_shows_numbers_for_names() -> None:
    text = printed(report(count=8), width=60)
    assert "1 pod-0" in text and max(map(len, text.splitlines())) <= 60


def test_many_pods_are_columns_by_node_and_passed_rows_are_counted() -> None:
    text = printed(report(("ping", "lost"), count=60))
    assert "pods of n0" in text and "pods of n1" in text and "pod-59" not in text
    assert "and 20 more pods whose probes all passed" in text
    assert text.splitlines()[1].startswith("pod-0 (n0)"), "rows with failures come first"


def test_pods_without_a_namespace_are_named() -> None:
    made = report()
    endpoints = [*made.endpoints, Endpoint("lonely", "pod", "n0", (), "")]
    assert "not checked from: lonely" in printed(replace(made, endpoints=endpoints))
