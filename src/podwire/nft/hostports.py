# SPDX-License-Identifier: Apache-2.0
"""The nftables table of host ports (destination NAT to pods): its text, compared with a listing. No effects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from podwire.attachments.altnames import HostPort
from podwire.cni.document import Json, JsonObject
from podwire.ip import Address, Network
from podwire.nft.names import PORTS_TABLE as TABLE
from podwire.nft.names import content_comment
from podwire.record import Record

# IP protocol numbers: nft needs /etc/protocols to resolve names, and a host may have none.
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
LISTS = {
    "any4": "map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }",
    "any6": "map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }",
    "at4": "map at4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }",
    "at6": "map at6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }",
    "back4": "set back4 { type ipv4_addr . ipv4_addr; flags interval; }",
    "back6": "set back6 { type ipv6_addr . ipv6_addr; flags interval; }",
}
"""Host ports on any address (any4, any6) and on one address (at4, at6). For sources in back4 and back6, packets to a
pod are masqueraded: the reply would not come back through the host."""

HOOKS = {
    "ports": "",
    "prerouting": "type nat hook prerouting priority dstnat; policy accept;",
    "output": "type nat hook output priority -100; policy accept;",
    "postrouting": "type nat hook postrouting priority srcnat; policy accept;",
    "guard": "type filter hook prerouting priority raw; policy accept;",
}
RULES = {
    "ports": (
        "dnat ip to meta l4proto . ip daddr . th dport map @at4",
        "dnat ip to meta l4proto . th dport map @any4",
        "dnat ip6 to meta l4proto . ip6 daddr . th dport map @at6",
        "dnat ip6 to meta l4proto . th dport map @any6",
    ),
    # Packets from outside and from pods; then those of the node itself.
    "prerouting": ("fib daddr type local jump ports",),
    # Linux forwards no packet with the source ::1, so packets to ::1 stay on the node.
    "output": ("ip6 daddr != ::1 fib daddr type local jump ports", "meta nfproto ipv4 fib daddr type local jump ports"),
    "postrouting": (
        # A pod drops packets that come in with its own address; on a bridge the reply would go directly to the source.
        "ct status dnat ip saddr . ip daddr @back4 masquerade fully-random",
        "ct status dnat ip6 saddr . ip6 daddr @back6 masquerade fully-random",
        # The node's own connections to 127.0.0.1.
        'ct status dnat oifname != "lo" ip saddr 127.0.0.0/8 masquerade fully-random',
    ),
    # route_localnet lets the kernel route 127.0.0.0/8: no packet from outside may use it.
    "guard": ('iifname != "lo" ip daddr 127.0.0.0/8 drop', 'iifname != "lo" ip saddr 127.0.0.0/8 drop'),
}

Elements = dict[str, dict[str, str]]  # the elements of each map or set by its name: key to value, "" in a set
UNKNOWN = "?"  # stands for a part of a listed element that podwire never writes: it is unequal to all that it writes


class Target(Record):
    """A host port, and the pod's address and port; packets from `masqueraded` networks get the host's address."""

    port: HostPort
    address: Address
    pod_port: int
    masqueraded: tuple[Network, ...]


def desired_elements(targets: Iterable[Target]) -> Elements:
    found: Elements = {name: {} for name in LISTS}
    for target in targets:
        family, port = target.address.version, target.port
        anywhere, number = port.address.is_unspecified, NUMBERS[port.protocol]
        key = f"{number} . {port.port}" if anywhere else f"{number} . {port.address} . {port.port}"
        found[f"any{family}" if anywhere else f"at{family}"][key] = f"{target.address} . {target.pod_port}"
        for network in target.masqueraded:
            found[f"back{family}"][f"{_network(network)} . {target.address}"] = ""
    return found


def _network(network: Network) -> str:
    """As nft lists it: one of a single address without a prefix length."""
    return str(network) if network.prefixlen < network.max_prefixlen else str(network.network_address)


def read_elements(listing: Sequence[JsonObject]) -> Elements:
    """The elements in a listing of the table (`nft -j list table`)."""
    found: Elements = {name: {} for name in LISTS}
    for entry in listing:
        content = entry.get("map") or entry.get("set")
        if not content or content.get("name") not in found:
            continue
        for element in content.get("elem", []):
            key, value = element if "map" in entry else (element, "")
            found[content["name"]][_concatenation(key)] = _concatenation(value) if value else ""
    return found


def _concatenation(value: Json) -> str:
    if not isinstance(value, dict):
        return _part(value)
    if "elem" in value:
        return _concatenation(value["elem"].get("val"))
    return " . ".join(_part(part) for part in value.get("concat", [value]))


def _part(part: Json) -> str:
    if isinstance(part, int) or (isinstance(part, str) and part.isdecimal()):
        return str(part)
    try:
        if isinstance(part, dict):
            return str(ip_network(f"{part['prefix']['addr']}/{part['prefix']['len']}"))
        return str(NUMBERS.get(part) or ip_address(part))
    except (ValueError, LookupError, TypeError):
        return UNKNOWN


def is_intact(listing: Sequence[JsonObject]) -> bool:
    """Does a listing of the table contain exactly podwire's chains, rules, maps and sets?"""
    chains = {entry["chain"]["name"]: bool(entry["chain"].get("hook")) for entry in listing if "chain" in entry}
    lists = {content["name"] for entry in listing if (content := entry.get("map") or entry.get("set"))}
    rules = [entry["rule"] for entry in listing if "rule" in entry]
    comments = {name: [rule.get("comment", "") for rule in rules if rule["chain"] == name] for name in chains}
    hooked = chains == {name: bool(hook) for name, hook in HOOKS.items()}
    return (
        hooked and lists == set(LISTS) and comments == {name: list(map(content_comment, RULES[name])) for name in HOOKS}
    )


def change_text(desired: Elements, listing: Sequence[JsonObject]) -> str:
    """One transaction that gives the table the desired elements; "" if it has them. With no elements there is no table.

    nft delete element inet podwire-ports any4 { 6 . 8080 }
    nft add element inet podwire-ports any4 { 6 . 8080 : 10.244.1.2 . 80 }
    """
    if not any(desired.values()):
        return f"table inet {TABLE}\ndelete table inet {TABLE}\n" if listing else ""
    existing = read_elements(listing)
    if not is_intact(listing) or any(UNKNOWN in key for content in existing.values() for key in content):
        return table_text(desired)
    lines = []
    for name in LISTS:
        stale = [key for key, value in existing[name].items() if desired[name].get(key) != value]
        missing = {key: value for key, value in desired[name].items() if existing[name].get(key) != value}
        if stale:
            lines.append(f"delete element inet {TABLE} {name} {{ {', '.join(stale)} }}")
        if missing:
            lines.append(_addition(name, missing))
    return "".join(f"{line}\n" for line in lines)


def table_text(desired: Elements) -> str:
    """One transaction that replaces the table.

    nft add table inet podwire-ports; nft add map …; nft add chain …; nft add rule …; nft add element …
    """
    chains = ""
    for name, hook in HOOKS.items():
        rules = "".join(f'    {rule} comment "{content_comment(rule)}"\n' for rule in RULES[name])
        chains += f"  chain {name} {{\n    {hook}\n{rules}  }}\n"
    lists = "".join(f"  {text}\n" for text in LISTS.values())
    filled = "".join(f"{_addition(name, content)}\n" for name, content in desired.items() if content)
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{lists}{chains}}}\n{filled}"


def _addition(name: str, content: dict[str, str]) -> str:
    elements = ", ".join(f"{key} : {value}" if value else key for key, value in content.items())
    return f"add element inet {TABLE} {name} {{ {elements} }}"


def changed_ports(desired: Elements, existing: Elements, protocol: str) -> list[tuple[Address | None, int, int]]:
    """The host ports of a protocol whose target changed: (address, None for any; IP version; port)."""
    found = []
    for name in ("any4", "any6", "at4", "at6"):
        want, have = desired[name], existing[name]
        for key in sorted({*want, *have}):
            parts = key.split(" . ")
            if parts[0] == str(NUMBERS[protocol]) and UNKNOWN not in parts and want.get(key) != have.get(key):
                address = ip_address(parts[1]) if name.startswith("at") else None
                found.append((address, int(name[-1]), int(parts[-1])))
    return found
