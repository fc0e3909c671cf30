"""A report as JUnit XML, as continuous integration reads it: a suite for every pod, a case for every probe. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from podwire.diagnose.plan import Outcome
from podwire.diagnose.report import Failure, Report


def junit(report: Report) -> bytes:
    """The file's content."""
    failures = {(one.source, one.target, one.address, method): one for one in report.failures for method in one.methods}
    root = Element("testsuites", name="podwire check", time=f"{report.seconds:.3f}")
    root.attrib.update(_counts(report.outcomes))
    for source in dict.fromkeys(one.probe.source for one in report.outcomes):
        own = [one for one in report.outcomes if one.probe.source == source]
        suite = SubElement(root, "testsuite", name=source, time=f"{sum(one.rtt_seconds for one in own):.3f}")
        suite.attrib.update(_counts(own))
        for one in own:
            _case(suite, one, failures)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _counts(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(one.failed for one in outcomes)),
        "skipped": str(sum(one.status == "skipped" for one in outcomes)),
        "errors": "0",
    }


def _case(suite: Element, one: Outcome, failures: Mapping[tuple[str, str, str, str], Failure]) -> None:
    probe = one.probe
    name = f"{probe.method} to {probe.target} ({probe.address})"
    case = SubElement(suite, "testcase", classname=probe.source, name=name, time=f"{one.rtt_seconds:.4f}")
    if one.status == "skipped":
        SubElement(case, "skipped", message=one.words)
    elif one.failed:
        why = failures.get((probe.source, probe.target, str(probe.address), probe.method))
        element = SubElement(case, "failure", type=one.status, message=why.headline if why else one.words)
        if why:
            lines = [why.cause, f"see: {' '.join(why.command)}", f"next: {why.advice}", *why.seen]
            element.text = "\n".join(lines)
