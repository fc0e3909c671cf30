"""What a check tells people, scripts and continuous integration."""

from __future__ import annotations

import io
from ipaddress import ip_address
from xml.etree import ElementTree

import msgspec
from rich.console import Console

from podwire.diagnose.case import Cause
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.junit import junit
from podwire.diagnose.matrix import show
from podwire.diagnose.plan import METHODS, Outcome, Probe, Status
from podwire.diagnose.report import Failure, Report, group

CAUSE = Cause("n", "n does not forward", ("sysctl", "net.ipv4.ip_forward"), "switch it on")


def outcome(source: str, target: str, method: str, status: Status = "ok", address: str = "10.1.0.9") -> Outcome:
    assert method in METHODS
    return Outcome(Probe(source, target, ip_address(address), method), status, 0.001)


def pods(count: int) -> list[Endpoint]:
    return [Endpoint(f"pod-{number}", "pod", f"n{number % 2}", (), "/x") for number in range(count)]


def report(*bad: tuple[str, Status], count: int = 3) -> Report:
    """Everybody calls everybody; `bad` is what fails from the first pod to the second."""
    endpoints = pods(count)
    status = dict(bad)
    outcomes = [
        outcome(one.name, other.name, method, status.get(method, "ok") if (at, to) == (0, 1) else "ok")
        for at, one in enumerate(endpoints)
        for to, other in enumerate(endpoints)
        if at != to
        for method in METHODS
    ]
    groups = group([one for one in outcomes if one.failed])
    failures = [Failure.of(one, "in n", CAUSE, ("n pw1 in a > b",)) for one in groups]
    return Report(endpoints, outcomes, failures, 1.25)


def printed(one: Report, width: int = 120) -> str:
    out = io.StringIO()
    show(one, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def test_a_green_report_is_a_matrix_and_one_line() -> None:
    text = printed(report())
    assert text.count("✓") == 3 * 2 + 1 and "✗" not in text
    assert text.splitlines()[-1] == "✓ all of 24 probes in 1.2 s passed"


def test_failures_are_grouped_by_kind_and_shown_with_cause_and_next_step() -> None:
    one = report(("ping", "lost"), ("tcp", "refused"), ("udp", "source"), ("mtu", "black hole"))
    assert [each.methods for each in one.failures] == [("ping", "tcp"), ("udp",), ("mtu",)]
    text = printed(one)
    assert "✗ptms" in text and "cause: n does not forward" in text
    assert "see: sysctl net.ipv4.ip_forward" in text and "next: switch it on" in text
    assert text.splitlines()[-1] == "✗ 4 of 24 probes in 1.2 s failed"


def test_the_same_cause_is_told_once() -> None:
    one = report()
    failures = [
        Failure.of([outcome(f"pod-{number}", "pod-9", "ping", "lost")], "in n", CAUSE, ()) for number in range(5)
    ]
    text = printed(msgspec.structs.replace(one, failures=failures))
    assert text.count("does not forward") == 1 and "and 4 more of the same kind" in text


def test_a_skipped_probe_is_no_failure_and_not_sound_alone() -> None:
    one = report(("ping", "lost"), ("mtu", "skipped"))
    assert one.document()["failed"] == 1
    assert ElementTree.fromstring(junit(one)).attrib["skipped"] == "1"  # noqa: S314 -- our own


def test_json_has_all_that_people_see() -> None:
    document = report(("ping", "lost")).document()
    assert not document["ok"] and document["seconds"] == 1.25 and document["probes"] == 24
    (failure,) = document["failures"]
    assert failure["hop"] == "in n" and failure["at"] == "n" and failure["next"] == "switch it on"
    assert failure["command"] == "sysctl net.ipv4.ip_forward" and failure["seen"] == ["n pw1 in a > b"]
    assert msgspec.json.encode(document)


def test_junit_has_a_case_for_every_probe() -> None:
    root = ElementTree.fromstring(junit(report(("ping", "lost"))))  # noqa: S314 -- our own
    assert root.attrib["tests"] == "24" and root.attrib["failures"] == "1"
    assert len(root.findall("testsuite")) == 3 and len(root.findall(".//testcase")) == 24
    (failure,) = root.findall(".//failure")
    assert failure.attrib["message"].startswith("pod-0 → pod-1") and "switch it on" in (failure.text or "")


def test_a_narrow_terminal_gets_numbers_for_names() -> None:
    text = printed(report(count=8), width=60)
    assert "1 pod-0" in text and max(map(len, text.splitlines())) <= 60


def test_many_pods_are_columns_by_node_and_sound_rows_are_counted() -> None:
    text = printed(report(("ping", "lost"), count=60))
    assert "pods of n0" in text and "pods of n1" in text and "pod-59" not in text
    assert "and 20 more pods that reach all that they called" in text
    assert text.splitlines()[1].startswith("pod-0 (n0)"), "those with failures come first"


def test_pods_that_cannot_be_entered_are_named() -> None:
    one = report()
    endpoints = [*one.endpoints, Endpoint("lonely", "pod", "n0", (), "")]
    assert "not checked from: lonely" in printed(msgspec.structs.replace(one, endpoints=endpoints))
