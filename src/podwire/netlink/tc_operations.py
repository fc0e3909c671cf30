"""Operations that limit a pod's rates: token buckets, and a device through which its own packets are led."""

from __future__ import annotations

from podwire.record import Record

PRIORITY = 1
"""Of the redirecting filter, the only one on its device."""


class AddIfb(Record):
    """Create an intermediate functional block: what is led through it can be shaped as if it were being sent."""

    name: str
    mtu: int

    def command(self) -> list[str]:
        return ["ip", "link", "add", self.name, "mtu", str(self.mtu), "numtxqueues", "1", "numrxqueues", "1",
                "type", "ifb"]  # fmt: skip


class SetTokenBucket(Record):
    """Limit what a device sends (tc-tbf(8)): bytes a second, and bytes for the burst and for the queue."""

    device: str
    rate_bytes: int
    burst_bytes: int
    limit_bytes: int

    def command(self) -> list[str]:
        return [
            *("tc", "qdisc", "replace", "dev", self.device, "root", "handle", "1:", "tbf"),
            *("rate", f"{self.rate_bytes}bps", "burst", f"{self.burst_bytes}b", "limit", f"{self.limit_bytes}b"),
        ]


class AddIngress(Record):
    """Give a device the hook at which filters see what it receives."""

    device: str

    def command(self) -> list[str]:
        return ["tc", "qdisc", "add", "dev", self.device, "handle", "ffff:", "ingress"]


class AddRedirect(Record):
    """Lead everything that a device receives through another one (tc-u32(8), tc-mirred(8))."""

    device: str
    to: str

    def command(self) -> list[str]:
        return [
            *("tc", "filter", "add", "dev", self.device, "parent", "ffff:", "protocol", "all", "prio", str(PRIORITY)),
            *("u32", "match", "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", self.to),
        ]


Shaping = AddIfb | SetTokenBucket | AddIngress | AddRedirect
