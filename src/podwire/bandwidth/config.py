# SPDX-License-Identifier: Apache-2.0
"""The rates that a runtime asks for: `bandwidth` of `runtimeConfig`, typed and checked."""

from __future__ import annotations

from podwire.cni import fields as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import invalid
from podwire.record import Record

LARGEST_RATE_BITS = 2**63 - 1
LARGEST_BURST_BITS = (2**32 - 1) * 8


class Rate(Record):
    """Bits per second, and the burst in bits that may exceed the rate (0: podwire chooses it)."""

    rate_bits: int
    burst_bits: int


class Bandwidth(Record):
    """Limits as the pod sees them: `ingress` is the traffic to the pod, `egress` the traffic from it."""

    ingress: Rate | None = None
    egress: Rate | None = None


def bandwidth(runtime: JsonObject) -> Bandwidth | None:
    """`runtimeConfig.bandwidth`, None where nothing is limited. Raises CniError 6 or 7."""
    raw = take.table(runtime, "bandwidth")
    ingress, egress = _rate(raw, "ingress"), _rate(raw, "egress")
    return Bandwidth(ingress, egress) if ingress or egress else None


def _rate(raw: JsonObject, side: str) -> Rate | None:
    rate, burst = take.integer(raw, f"{side}Rate"), take.integer(raw, f"{side}Burst")
    for key, value, largest in (("Rate", rate, LARGEST_RATE_BITS), ("Burst", burst, LARGEST_BURST_BITS)):
        if not 0 <= value <= largest:
            raise invalid(f"bandwidth: {side}{key}={value} is not between 0 and {largest}")
    if burst and not rate:
        raise invalid(f"bandwidth: {side}Burst={burst} needs {side}Rate: set the rate as well")
    if 0 < rate < 8:
        raise invalid(f"bandwidth: {side}Rate={rate} is less than a byte a second")
    return Rate(rate, burst) if rate else None
