# SPDX-License-Identifier: Apache-2.0
"""What ADD and CHECK do about the limits of an attachment's rates. DEL deletes the egress device (`egress.py`).

The host's end of the veth sends the traffic to the pod, so a token bucket limits it there. It receives the traffic from
the pod, and received packets cannot be queued: they are redirected to an egress device (ifb) with a bucket of its own.
"""

from __future__ import annotations

import errno

from podwire.attachments.identity import egress_device
from podwire.bandwidth import egress
from podwire.bandwidth.config import Bandwidth, Rate
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.netlink import tc_operations as tc
from podwire.netlink.apply import Indexes, KernelRefusedError, apply
from podwire.netlink.host import Host
from podwire.netlink.tc import read_rate_bytes

LATENCY_SECONDS = 0.025  # the length of the queue as time at the rate; further packets are dropped
CHOSEN_BURST_SECONDS = 0.1
SMALLEST_CHOSEN_BURST_BYTES = 64 * 1024
HEADER_BYTES = 64  # at least what a device adds to a packet of its MTU: a bucket smaller than a packet passes no packet


def bucket(device: str, rate: Rate, mtu: int) -> tc.SetTokenBucket:
    """The token bucket of a rate. The default burst is a tenth of a second at the rate, at least 64 KiB."""
    rate_bytes = rate.rate_bits // 8
    chosen = max(int(rate_bytes * CHOSEN_BURST_SECONDS), SMALLEST_CHOSEN_BURST_BYTES)
    burst = max(rate.burst_bits // 8 if rate.burst_bits else chosen, mtu + HEADER_BYTES)
    return tc.SetTokenBucket(device, rate_bytes, burst, int(rate_bytes * LATENCY_SECONDS) + burst)


def egress_operations(device: str, rate: Rate, mtu: int, alias: str, *, addrgenmode_none: bool) -> list[op.Operation]:
    """Limit the traffic from the pod by its egress device, which exists already and gets `alias`."""
    ifb = egress_device(device)
    set_alias = op.SetAlias(ifb, alias, addrgenmode_none)
    return [set_alias, bucket(ifb, rate, mtu), op.SetUp(ifb), tc.AddIngress(device), tc.AddRedirect(device, ifb)]


def limit(host: Host, device: str, limits: Bandwidth, mtu: int, alias: str, index_of: Indexes) -> None:
    """ADD: limit the rates of an attachment's device, whose alias is `alias`. Raises KernelRefusedError, NetlinkError.

    tc qdisc replace dev DEVICE root tbf ...
    """
    if limits.ingress:
        apply(host.socket, [bucket(device, limits.ingress, mtu)], index_of)
    if limits.egress:
        egress.delete_orphans(host)
        ifb = tc.AddIfb(egress_device(device), mtu)
        try:
            apply(host.socket, [ifb], index_of)
        except KernelRefusedError as refused:
            if refused.number != errno.EEXIST:
                raise
            # It belongs to an earlier ADD of this attachment, whose veth was deleted: nothing uses it.
            apply(host.socket, [op.DeleteLink(ifb.name)], index_of)
            apply(host.socket, [ifb], index_of)
        none = host.namespace.ipv6
        apply(host.socket, egress_operations(device, limits.egress, mtu, alias, addrgenmode_none=none), index_of)


def difference(host: Host, link: read.Link, limits: Bandwidth) -> str:
    """CHECK: the first difference between the limits and the kernel; "" if there is none."""
    for name, rate in ((link.name, limits.ingress), (egress_device(link.name), limits.egress)):
        device = read.link(host.socket, name) if rate else None
        if rate and (device is None or read_rate_bytes(host.socket, device.index) != rate.rate_bits // 8):
            return f"device {name} does not limit the container to {rate.rate_bits} bits per second"
    return ""
