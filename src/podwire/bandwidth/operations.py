"""The limits of an attachment's rates as operations.

The host's end of the veth sends the traffic to the pod, so a token bucket limits it there. It receives the traffic
from the pod, and received packets cannot be queued: they are redirected to an egress device (ifb) that has the second
token bucket.
"""

from __future__ import annotations

from podwire.attachments.identity import egress_device
from podwire.bandwidth.config import Rate
from podwire.netlink import operations as op
from podwire.netlink import tc_operations as shaping
from podwire.netlink.operations import Operation

LATENCY_SECONDS = 0.025
"""The length of the queue as time at the rate; further packets are dropped."""

CHOSEN_BURST_SECONDS = 0.1
SMALLEST_CHOSEN_BURST_BYTES = 64 * 1024
HEADER_BYTES = 64
"""At least what a device adds to a packet of its MTU: a bucket smaller than a packet passes no packet."""


def bucket(device: str, rate: Rate, mtu: int) -> shaping.SetTokenBucket:
    """The token bucket of a rate. The default burst is a tenth of a second at the rate, at least 64 KiB."""
    rate_bytes = rate.rate_bits // 8
    burst = rate.burst_bits // 8
    if not rate.burst_bits:
        burst = max(int(rate_bytes * CHOSEN_BURST_SECONDS), SMALLEST_CHOSEN_BURST_BYTES)
    burst = max(burst, mtu + HEADER_BYTES)
    return shaping.SetTokenBucket(device, rate_bytes, burst, int(rate_bytes * LATENCY_SECONDS) + burst)


def ingress_operations(device: str, rate: Rate, mtu: int) -> list[Operation]:
    """Limit the traffic to the pod: `tc qdisc replace dev <device> root tbf ...`."""
    return [bucket(device, rate, mtu)]


def egress_operations(device: str, rate: Rate, mtu: int, alias: str, *, addrgenmode_none: bool) -> list[Operation]:
    """Limit the traffic from the pod by its egress device, which exists already and gets `alias`."""
    egress = egress_device(device)
    return [
        op.SetAlias(egress, alias, addrgenmode_none),
        bucket(egress, rate, mtu),
        op.SetUp(egress),
        shaping.AddIngress(device),
        shaping.AddRedirect(device, egress),
    ]
