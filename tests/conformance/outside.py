# SPDX-License-Identifier: Apache-2.0
"""A network outside the node: one more namespace on a wire to the host."""

from __future__ import annotations

from tests.support.namespace import Namespace

HOST = {4: "192.0.2.1", 6: "2001:db8:2::1"}
OUTSIDE = {4: "192.0.2.2", 6: "2001:db8:2::2"}
LENGTH = {4: 24, 6: 64}


def connect(host: Namespace, outside: Namespace) -> None:
    """Wire `outside` to `host` by a veth pair named up0; neither side knows a route to the pods."""
    host.run("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", outside.name)
    outside.run("ip", "link", "set", "lo", "up")
    for namespace, addresses in ((host, HOST), (outside, OUTSIDE)):
        namespace.run("ip", "link", "set", "up0", "up")
        for family, address in addresses.items():
            extra = ["nodad"] if family == 6 else []
            namespace.run("ip", "addr", "add", f"{address}/{LENGTH[family]}", "dev", "up0", *extra)


def accept_only_from(outside: Namespace, network: str) -> None:
    """Let echo requests into `outside` only from `network`: a reply then tells the source that was seen."""
    family = "ip6" if ":" in network else "ip"
    protocol = "icmpv6" if ":" in network else "icmp"
    rules = f"""table inet only {{
    chain input {{
        type filter hook input priority 0; policy accept;
        meta l4proto {protocol} {protocol} type echo-request {family} saddr != {network} drop
    }}
}}
"""
    outside.run("nft", "-f", "-", stdin=rules)
