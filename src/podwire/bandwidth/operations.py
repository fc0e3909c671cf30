"""The limits of an attachment's rates as operations.

What comes to the pod is what the host's veth sends, so a token bucket stands there. What the pod sends is what that
veth receives, where nothing can wait: it is led through a device of its own that has the second bucket.
"""

from __future__ import annotations

from podwire.attachments.identity import egress_device
from podwire.bandwidth.config import Rate
from podwire.netlink import operations as op
from podwire.netlink import tc_operations as shaping
from podwire.netlink.operations import Operation

LATENCY_SECONDS = 0.025
"""How much may wait in a queue, in time at the rate; what comes on top is dropped."""

CHOSEN_BURST_SECONDS = 0.1
SMALLEST_CHOSEN_BURST_BYTES = 64 * 1024
HEADER_BYTES = 64
"""What a device adds to a packet of its MTU, roundly: a bucket that holds less than one packet passes none."""


def bucket(device: str, rate: Rate, mtu: int) -> shaping.SetTokenBucket:
    """The token bucket of a rate. Without a burst, a tenth of a second's worth, and 64 KiB at least."""
    rate_bytes = rate.rate_bits // 8
    burst = rate.burst_bits // 8
    if not rate.burst_bits:
        burst = max(int(rate_bytes * CHOSEN_BURST_SECONDS), SMALLEST_CHOSEN_BURST_BYTES)
    burst = max(burst, mtu + HEADER_BYTES)
    return shaping.SetTokenBucket(device, rate_bytes, burst, int(rate_bytes * LATENCY_SECONDS) + burst)


def ingress_operations(device: str, rate: Rate, mtu: int) -> list[Operation]:
    """What limits the traffic to the pod."""
    return [bucket(device, rate, mtu)]


def egress_operations(device: str, rate: Rate, mtu: int, alias: str, *, addrgenmode_none: bool) -> list[Operation]:
    """What limits the traffic from the pod, once its egress device is there; `alias` says whose it is."""
    through = egress_device(device)
    return [
        op.SetAlias(through, alias, addrgenmode_none),
        bucket(through, rate, mtu),
        op.SetUp(through),
        shaping.AddIngress(device),
        shaping.AddRedirect(device, through),
    ]
