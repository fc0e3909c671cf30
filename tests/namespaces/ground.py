# SPDX-License-Identifier: Apache-2.0
"""The network configurations and the surroundings of a node that the tests of this folder share."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any

from tests.support.namespace import Namespace
from tests.support.plugin import Outcome
from tests.support.snapshot import Snapshot, difference, snapshot

CLUSTER = {4: "10.244.0.0/16", 6: "fd00:10:244::/56"}
SUBNET = {4: "10.244.1.0/24", 6: "fd00:10:244:1::/64"}
GATEWAY = {4: "10.244.1.1", 6: "fd00:10:244:1::1"}
GATEWAY_DEVICE = {"routed": "podwire0", "bridge": "cni0"}
FAMILIES = {"ipv4": (4,), "ipv6": (6,), "dual": (4, 6)}
MODES = ("routed", "bridge")
ROUTE_PROTOCOL = "112"

_CURSOR = re.compile(r" last-lease[^\"']*")


def configuration(mode: str, families: tuple[int, ...] = (4, 6), **more: Any) -> dict[str, Any]:
    """podwire's own configuration with its usual keys; `more` adds or replaces keys."""
    return {
        "cniVersion": "1.1.0",
        "name": "net",
        "type": "podwire",
        "mode": mode,
        "network": [CLUSTER[family] for family in families],
        "subnet": ",".join(SUBNET[family] for family in families),
        **more,
    }


def state(namespace: Namespace) -> Snapshot:
    """A snapshot without the gateway device's note of the last lease, which is meant to outlive pods."""
    return frozenset(_CURSOR.sub("", line) for line in snapshot(namespace))


def left_in_pod(before: Snapshot, pod: Namespace) -> list[str]:
    """What differs in the pod; its loopback, which stays up, is no part of the attachment."""
    lines = difference(before, state(pod))
    return [line for line in lines if '"lo"' not in line and not line[2:].startswith("address lo ")]


def ips(added: Outcome) -> list[str]:
    """The addresses that an ADD answered, without prefix length."""
    assert added.ok, added
    return [str(each["address"]).split("/")[0] for each in added.document["ips"]]


def host_device(added: Outcome) -> str:
    """The name of the host's end that an ADD answered."""
    outside = [each["name"] for each in added.document["interfaces"] if not each.get("sandbox")]
    return str(outside[-1])


def assert_wired(host: Namespace, pod: Namespace, document: dict[str, Any], ifname: str = "eth0") -> None:
    """What the result promises is there: its addresses, an answer from the gateway and one to the host."""
    promised = {str(ipaddress.ip_interface(each["address"])) for each in document["ips"]}
    assert promised
    assert set(pod.addresses(ifname)) == promised
    for each in document["ips"]:
        assert pod.pings(each["gateway"]), f"{pod} cannot reach its gateway {each['gateway']}"
        address = each["address"].split("/")[0]
        assert host.pings(address), f"the host cannot reach {address}"


NODE = {4: "192.0.2.1", 6: "2001:db8:2::1"}
NEXT = {4: "192.0.2.2", 6: "2001:db8:2::2"}
LINK_LENGTH = {4: 24, 6: 64}
INTERNET = {4: "198.51.100.7", 6: "2001:db8:51::7"}
FAR_POD = {4: "10.244.2.5", 6: "fd00:10:244:2::5"}
FAR_SUBNET = {4: "10.244.2.0/24", 6: "fd00:10:244:2::/64"}
WORD = {4: "ip", 6: "ip6"}


class Outside(Namespace):
    """What lies beyond the node: an address of the internet, and a pod of another node of the cluster.

    Only the far pod knows a route back to this node's pods; it counts who knocks, the internet as well.
    """

    def __init__(self, host: Namespace) -> None:
        super().__init__()
        self.host = host
        link = ["link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", self.name]
        host.ip(*link)
        for namespace, own in ((host, NODE), (self, NEXT)):
            namespace.ip("link", "set", "up0", "up")
            for family, address in own.items():
                nodad = ["nodad"] if family == 6 else []
                namespace.ip("addr", "add", f"{address}/{LINK_LENGTH[family]}", "dev", "up0", *nodad)
        self.ip("link", "set", "lo", "up")
        for family in (4, 6):
            for address in (INTERNET[family], FAR_POD[family]):
                self.ip("addr", "add", address, "dev", "lo")
            host.ip("route", "add", "default", "via", NEXT[family])
            # The far pod answers through its own node's route; nobody else's packets take it.
            back = ["route", "add", SUBNET[family], "via", NODE[family], "table", "7"]
            self.ip(f"-{family}", *back)
            self.ip(f"-{family}", "rule", "add", "from", FAR_POD[family], "lookup", "7")
        self._count()

    def _count(self) -> None:
        rules = "".join(f"counter {name}{family} {{ }}\n" for family in (4, 6) for name in ("bare", "node"))
        seen = "".join(
            f"{WORD[family]} saddr {source} meta l4proto {{ icmp, ipv6-icmp }} "
            f"{WORD[family]} daddr {{ {INTERNET[family]}, {FAR_POD[family]} }} counter name {name}{family}\n"
            for family in (4, 6)
            for name, source in (("bare", CLUSTER[family]), ("node", NODE[family]))
        )
        chain = f"chain input {{ type filter hook input priority 0; policy accept;\n{seen} }}"
        self.run("nft", "-f", "-", stdin=f"table inet seen {{\n{rules}{chain}\n}}\n")

    def seen(self, name: str, family: int) -> int:
        """How many echo requests came with a pod's own address ("bare") or with the node's ("node")."""
        listed = json.loads(self.run("nft", "-j", "list", "counters", "table", "inet", "seen").stdout)
        counters = [each["counter"] for each in listed["nftables"] if "counter" in each]
        return int(next(each["packets"] for each in counters if each["name"] == f"{name}{family}"))
