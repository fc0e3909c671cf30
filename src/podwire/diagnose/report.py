"""What a check found: its outcomes, and its failures put together so that each cause is told once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from podwire.diagnose.case import Cause
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.plan import Outcome


class Failure(Struct, frozen=True):
    """What does not work between two endpoints, where it is lost, why, and what to do.

    `hop` is in words ("between node-1 and node-2"); `at` is the place to mend; `command` shows the cause; `seen` is
    where the packets were seen, in order, `last` the last place before the loss; `sure` is False where the cause is
    only likely.
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
        """The failure that a group of outcomes shares."""
        first = outcomes[0]
        return cls(
            source=first.probe.source,
            target=first.probe.target,
            address=str(first.probe.address),
            family=first.probe.family,
            methods=tuple(one.probe.method for one in outcomes),
            status=first.status,
            words=first.words,
            hop=hop,
            at=cause.at,
            cause=cause.words,
            command=cause.command,
            advice=cause.advice,
            sure=cause.sure,
            seen=tuple(seen),
            last=last,
        )

    @property
    def headline(self) -> str:
        """One line: who cannot do what, and where it ends."""
        what = f"{self.source} → {self.target} ({self.address}) {', '.join(self.methods)}"
        if self.status == "source":
            return f"{what}: wrong source address, {self.words}"
        if self.status == "black hole":
            return f"{what}: {self.words}, lost {self.hop}"
        return f"{what}: lost {self.hop}" if self.hop else f"{what}: {self.words}"


class Report(Struct, frozen=True):
    """A whole check; `seconds` is the time that it took."""

    endpoints: Sequence[Endpoint]
    outcomes: Sequence[Outcome]
    failures: Sequence[Failure]
    seconds: float

    @property
    def ok(self) -> bool:
        """Does everything work?"""
        return not any(one.failed for one in self.outcomes)

    def document(self) -> dict[str, Any]:
        """The report as JSON has it; times in milliseconds."""
        failed = sum(one.failed for one in self.outcomes)
        return {
            "ok": self.ok,
            "probes": len(self.outcomes),
            "failed": failed,
            "seconds": round(self.seconds, 3),
            "endpoints": [_endpoint(one) for one in self.endpoints],
            "results": [_outcome(one) for one in self.outcomes],
            "failures": [_failure(one) for one in self.failures],
        }


def group(outcomes: Iterable[Outcome]) -> list[list[Outcome]]:
    """Failed outcomes by pair and by kind: what is lost, what has the wrong source, what is only too large."""
    found: dict[object, list[Outcome]] = {}
    for one in outcomes:
        kind = one.status if one.status in ("source", "black hole") else "lost"
        found.setdefault((one.probe.pair, kind), []).append(one)
    return list(found.values())


def _endpoint(one: Endpoint) -> dict[str, Any]:
    addresses = [str(address) for address in one.addresses]
    return {"name": one.name, "kind": one.kind, "node": one.node, "addresses": addresses, "mtu": one.mtu or None}


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "from": one.probe.source,
        "to": one.probe.target,
        "address": str(one.probe.address),
        "family": one.probe.family,
        "method": one.probe.method,
        "status": one.status,
        "rtt_ms": round(one.rtt_seconds * 1000, 3) if one.ok else None,
        "source_seen": str(one.seen) if one.seen else None,
        "mtu": one.mtu or None,
        "words": one.words,
    }


def _failure(one: Failure) -> dict[str, Any]:
    return {
        "from": one.source,
        "to": one.target,
        "address": one.address,
        "family": one.family,
        "methods": list(one.methods),
        "status": one.status,
        "words": one.words,
        "hop": one.hop,
        "at": one.at,
        "cause": one.cause,
        "sure": one.sure,
        "command": " ".join(one.command),
        "next": one.advice,
        "seen": list(one.seen),
    }
