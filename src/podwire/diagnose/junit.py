# SPDX-License-Identifier: Apache-2.0
"""A report as JUnit XML for continuous integration: a suite for each pod, a case for each probe. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from podwire.diagnose.plan import Outcome
from podwire.diagnose.report import Failure, Report


def junit(report: Report) -> bytes:
    """The file's content."""
    failures = {
        (failure.source, failure.target, failure.address, method): failure
        for failure in report.failures
        for method in failure.methods
    }
    root = Element("testsuites", name="podwire check", time=f"{report.seconds:.3f}")
    root.attrib.update(_counts(report.outcomes))
    for source in dict.fromkeys(outcome.probe.source for outcome in report.outcomes):
        own = [outcome for outcome in report.outcomes if outcome.probe.source == source]
        suite = SubElement(root, "testsuite", name=source, time=f"{sum(outcome.rtt_seconds for outcome in own):.3f}")
        suite.attrib.update(_counts(own))
        for outcome in own:
            _case(suite, outcome, failures)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(outcome.failed for outcome in outcomes)),
        "skipped": str(sum(outcome.status == "skipped" for outcome in outcomes)),
        "errors": "0",
    }


def _case(suite: Element, outcome: Outcome, failures: Mapping[tuple[str, str, str, str], Failure]) -> None:
    probe = outcome.probe
    name = f"{probe.method} to {probe.target} ({probe.address})"
    case = SubElement(suite, "testcase", classname=probe.source, name=name, time=f"{outcome.rtt_seconds:.4f}")
    if outcome.status == "skipped":
        SubElement(case, "skipped", message=outcome.words)
    elif outcome.failed:
        why = failures.get((probe.source, probe.target, str(probe.address), probe.method))
        element = SubElement(case, "failure", type=outcome.status, message=why.headline if why else outcome.words)
        if why:
            lines = [why.cause, f"see: {' '.join(why.command)}", f"next: {why.advice}", *why.seen]
            element.text = "\n".join(lines)
