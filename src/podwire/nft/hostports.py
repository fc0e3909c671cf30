"""The nftables table that leads host ports to pods: its rules, its elements, and how it differs from a listing.

Pure: nft(8) texts are made here and listings compared; `kernel/ports.py` runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from podwire.digest import blake2b
from podwire.hostports.altnames import HostPort
from podwire.ip import Address, Network
from podwire.nft.names import PORTS_TABLE as TABLE
from podwire.record import Record

NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
"""IP protocol numbers: a host may have no /etc/protocols to tell names by."""

LISTS = {
    "any4": "map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }",
    "any6": "map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }",
    "at4": "map at4 { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }",
    "at6": "map at6 { type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service; }",
    "back4": "set back4 { type ipv4_addr . ipv4_addr; flags interval; }",
    "back6": "set back6 { type ipv6_addr . ipv6_addr; flags interval; }",
}
"""Host ports on any address and on one; and who reaches which pod only if the answer comes back through the host."""

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
    # From outside and from pods; from the node itself.
    "prerouting": ("fib daddr type local jump ports",),
    # Linux forwards nothing that comes from ::1, so that stays the node's own.
    "output": ("ip6 daddr != ::1 fib daddr type local jump ports", "meta nfproto ipv4 fib daddr type local jump ports"),
    "postrouting": (
        # A pod that calls itself would drop a packet from its own address; on a bridge the answer would go astray.
        "ct status dnat ip saddr . ip daddr @back4 masquerade fully-random",
        "ct status dnat ip6 saddr . ip6 daddr @back6 masquerade fully-random",
        # The node's own calls to 127.0.0.1.
        'ct status dnat oifname != "lo" ip saddr 127.0.0.0/8 masquerade fully-random',
    ),
    # Where 127.0.0.1 is routed to pods (route_localnet), nobody else may come from there or go there.
    "guard": (
        'iifname != "lo" ip daddr 127.0.0.0/8 drop',
        'iifname != "lo" ip saddr 127.0.0.0/8 drop',
    ),
}

Elements = dict[str, dict[str, str]]
"""For each map (or set) its elements: key to value (or to "")."""

UNKNOWN = "?"
"""A word of an element in a listing that podwire never writes: it differs from all that it does."""


class Target(Record):
    """A host port and where it leads; `near` is who needs the answer masqueraded to reach the pod by it."""

    port: HostPort
    address: Address
    inside: int
    near: tuple[Network, ...]


def elements(targets: Iterable[Target]) -> Elements:
    """What the maps and sets must hold."""
    found: Elements = {name: {} for name in LISTS}
    for one in targets:
        family, port = one.address.version, one.port
        number = str(NUMBERS[port.protocol])
        value = f"{one.address} . {one.inside}"
        if port.address.is_unspecified:
            found[f"any{family}"][f"{number} . {port.port}"] = value
        else:
            found[f"at{family}"][f"{number} . {port.address} . {port.port}"] = value
        for network in one.near:
            found[f"back{family}"][f"{_network(network)} . {one.address}"] = ""
    return found


def _network(network: Network) -> str:
    return str(network) if network.prefixlen < network.max_prefixlen else str(network.network_address)


def read_elements(listing: Sequence[dict[str, Any]]) -> Elements:
    """The elements in a listing of the table (`nft -j list table`)."""
    found: Elements = {name: {} for name in LISTS}
    for one in listing:
        entry = one.get("map") or one.get("set")
        if not entry or entry.get("name") not in found:
            continue
        for element in entry.get("elem", []):
            key, value = element if "map" in one else (element, "")
            found[entry["name"]][_words(key)] = _words(value) if value else ""
    return found


def _words(value: Any) -> str:
    """A concatenation as we write it."""
    if not isinstance(value, dict):
        return _word(value)
    if "elem" in value:
        return _words(value["elem"].get("val"))
    return " . ".join(_word(part) for part in value.get("concat", [value]))


def _word(part: Any) -> str:
    if isinstance(part, int) or (isinstance(part, str) and part.isdecimal()):
        return str(part)
    try:
        if isinstance(part, dict):
            return str(ip_network(f"{part['prefix']['addr']}/{part['prefix']['len']}"))
        return str(NUMBERS.get(part) or ip_address(part))
    except (ValueError, LookupError, TypeError):
        return UNKNOWN


def is_whole(listing: Sequence[dict[str, Any]]) -> bool:
    """Does a listing of the table hold exactly our chains, rules, maps and sets?"""
    chains = {one["chain"]["name"]: one["chain"].get("hook", "") for one in listing if "chain" in one}
    lists = {entry["name"] for one in listing if (entry := one.get("map") or one.get("set"))}
    rules: dict[str, list[str]] = {name: [] for name in HOOKS}
    for one in listing:
        if "rule" in one:
            rules.setdefault(one["rule"]["chain"], []).append(one["rule"].get("comment", ""))
    hooked = set(chains) == set(HOOKS) and all(bool(hook) == bool(HOOKS[name]) for name, hook in chains.items())
    return (
        hooked and lists == set(LISTS) and rules == {name: [_comment(rule) for rule in RULES[name]] for name in HOOKS}
    )


def _comment(rule: str) -> str:
    return "podwire " + blake2b(rule.encode(), digest_size=8).hexdigest()


def change_text(wanted: Elements, listing: Sequence[dict[str, Any]]) -> str:
    """One transaction that makes the table as wanted; "" if it is so. With no elements there is no table."""
    if not any(wanted.values()):
        return f"table inet {TABLE}\ndelete table inet {TABLE}\n" if listing else ""
    there = read_elements(listing)
    if not is_whole(listing) or any(UNKNOWN in key for content in there.values() for key in content):
        return whole_text(wanted)
    lines = []
    for name in LISTS:
        stale = [key for key, value in there[name].items() if wanted[name].get(key) != value]
        missing = {key: value for key, value in wanted[name].items() if there[name].get(key) != value}
        if stale:
            lines.append(f"delete element inet {TABLE} {name} {{ {', '.join(stale)} }}")
        if missing:
            lines.append(f"add element inet {TABLE} {name} {_braced(missing)}")
    return "".join(f"{line}\n" for line in lines)


def whole_text(wanted: Elements) -> str:
    """One transaction that replaces the table, whatever it held.

    nft add table inet podwire-ports; nft add map …; nft add chain …; nft add rule …; nft add element …
    """
    chains = ""
    for name, hook in HOOKS.items():
        rules = "".join(f'    {rule} comment "{_comment(rule)}"\n' for rule in RULES[name])
        chains += f"  chain {name} {{\n    {hook}\n{rules}  }}\n"
    lists = "".join(f"  {text}\n" for text in LISTS.values())
    filled = "".join(
        f"add element inet {TABLE} {name} {_braced(content)}\n" for name, content in wanted.items() if content
    )
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n{lists}{chains}}}\n{filled}"


def _braced(content: dict[str, str]) -> str:
    return "{ " + ", ".join(f"{key} : {value}" if value else key for key, value in content.items()) + " }"


def changed_ports(wanted: Elements, there: Elements, protocol: str) -> list[tuple[Address | None, int, int]]:
    """The host ports of a protocol whose target changed: (address or None for every one, IP version, port)."""
    found = []
    number = str(NUMBERS[protocol])
    for name in ("any4", "any6", "at4", "at6"):
        keys = {*wanted[name], *there[name]}
        for key in sorted(keys):
            parts = key.split(" . ")
            if parts[0] == number and UNKNOWN not in parts and wanted[name].get(key) != there[name].get(key):
                address = ip_address(parts[1]) if name.startswith("at") else None
                found.append((address, int(name[-1]), int(parts[-1])))
    return found
