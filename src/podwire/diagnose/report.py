# SPDX-License-Identifier: Apache-2.0
"""The report of a check: its outcomes, and its failures grouped so that each cause appears once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.packet_loss import Cause
from podwire.diagnose.plan import Outcome
from podwire.record import Record


class Failure(Record):
    """A failure between two endpoints: the hop, the cause and the next step.

    `hop` is a text ("between node-1 and node-2"); `at` is the endpoint to repair; `command` shows the cause; `seen` are
    the captured packets in order, `last` is the last packet before the loss.
    """

    source: str
    target: str
    address: str
    family: int
    methods: tuple[str, ...]
    status: str
    words: str
    hop: str
    at: str
    cause: str
    command: tuple[str, ...]
    advice: str
    sure: bool
    seen: tuple[str, ...]
    last: str = ""

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], hop: str, cause: Cause, seen: Sequence[str], last: str = "") -> Failure:
        """The failure of a group of outcomes."""
        first, probe = outcomes[0], outcomes[0].probe
        methods = tuple(outcome.probe.method for outcome in outcomes)
        what = probe.source, probe.target, str(probe.address), probe.family, methods, first.status, first.words
        why = cause.at, cause.words, cause.command, cause.advice, cause.sure
        return cls(*what, hop, *why, tuple(seen), last)

    @property
    def headline(self) -> str:
        """One line: source, target, methods and hop."""
        probes = f"{self.source} → {self.target} ({self.address}) {', '.join(self.methods)}"
        if self.status == "source":
            return f"{probes}: wrong source address, {self.words}"
        if self.status == "black hole":
            return f"{probes}: {self.words}, lost {self.hop}"
        return f"{probes}: lost {self.hop}" if self.hop else f"{probes}: {self.words}"


class Report(Record):
    """The report of a check; `seconds` is its duration."""

    endpoints: Sequence[Endpoint]
    outcomes: Sequence[Outcome]
    failures: Sequence[Failure]
    seconds: float

    @property
    def ok(self) -> bool:
        return not any(outcome.failed for outcome in self.outcomes)

    def document(self) -> dict[str, Any]:
        """The report for JSON; times are in milliseconds."""
        return {
            "ok": self.ok,
            "probes": len(self.outcomes),
            "failed": sum(outcome.failed for outcome in self.outcomes),
            "seconds": round(self.seconds, 3),
            "endpoints": [_endpoint(endpoint) for endpoint in self.endpoints],
            "results": [_outcome(outcome) for outcome in self.outcomes],
            "failures": [_failure(failure) for failure in self.failures],
        }


def group_outcomes(outcomes: Iterable[Outcome]) -> list[list[Outcome]]:
    """Failed outcomes by pair and kind: lost, wrong source address, lost only if large."""
    found: dict[object, list[Outcome]] = {}
    for outcome in outcomes:
        kind = outcome.status if outcome.status in ("source", "black hole") else "lost"
        found.setdefault((outcome.probe.pair, kind), []).append(outcome)
    return list(found.values())


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    addresses = [str(address) for address in endpoint.addresses]
    names = {"name": endpoint.name, "kind": endpoint.kind, "node": endpoint.node}
    return {**names, "addresses": addresses, "mtu": endpoint.mtu or None}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "from": outcome.probe.source,
        "to": outcome.probe.target,
        "address": str(outcome.probe.address),
        "family": outcome.probe.family,
        "method": outcome.probe.method,
        "status": outcome.status,
        "rtt_ms": round(outcome.rtt_seconds * 1000, 3) if outcome.ok else None,
        "source_seen": str(outcome.seen) if outcome.seen else None,
        "mtu": outcome.mtu or None,
        "words": outcome.words,
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "from": failure.source,
        "to": failure.target,
        "address": failure.address,
        "family": failure.family,
        "methods": list(failure.methods),
        "status": failure.status,
        "words": failure.words,
        "hop": failure.hop,
        "at": failure.at,
        "cause": failure.cause,
        "sure": failure.sure,
        "command": " ".join(failure.command),
        "next": failure.advice,
        "seen": list(failure.seen),
    }
