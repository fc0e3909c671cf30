# SPDX-License-Identifier: Apache-2.0
"""Operations that limit a pod's bandwidth: token buckets, and the ifb device for the packets that the pod sends."""

from __future__ import annotations

from podwire.record import Record

PRIORITY = 1
"""The priority of the redirecting filter, the only filter of its device."""


class AddIfb(Record):
    """Create an ifb device: packets that are redirected to it pass its qdisc as packets that are sent do."""

    name: str
    mtu: int

    def command(self) -> list[str]:
        return f"ip link add {self.name} mtu {self.mtu} numtxqueues 1 numrxqueues 1 type ifb".split()


class SetTokenBucket(Record):
    """Limit what a device sends (tc-tbf(8)): the rate in bytes a second, the burst and the queue in bytes."""

    device: str
    rate_bytes: int
    burst_bytes: int
    limit_bytes: int

    def command(self) -> list[str]:
        limits = f"rate {self.rate_bytes}bps burst {self.burst_bytes}b limit {self.limit_bytes}b"
        return f"tc qdisc replace dev {self.device} root handle 1: tbf {limits}".split()


class AddIngress(Record):
    """Add the ingress qdisc, at which filters see the packets that a device receives."""

    device: str

    def command(self) -> list[str]:
        return f"tc qdisc add dev {self.device} handle ffff: ingress".split()


class AddRedirect(Record):
    """Redirect all packets that a device receives to another device (tc-u32(8), tc-mirred(8))."""

    device: str
    to: str

    def command(self) -> list[str]:
        action = f"u32 match u32 0 0 action mirred egress redirect dev {self.to}"
        return f"tc filter add dev {self.device} parent ffff: protocol all prio {PRIORITY} {action}".split()


TcOperation = AddIfb | SetTokenBucket | AddIngress | AddRedirect
