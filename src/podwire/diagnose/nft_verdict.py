# SPDX-License-Identifier: Apache-2.0
"""Decides whether an nftables ruleset, as `nft -j list ruleset` prints it, drops a packet. Pure.

Every match of a rule is true, false or unknown; a drop that depends on an unknown match is reported as possible.
Compared are addresses, protocols, ports, devices, ICMP types and the connection state. (libnftables-json(5))
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from podwire.ip import Address
from podwire.record import Record

MOST_JUMPS = 16
Row = Mapping[str, Any]
TRANSPORTS = {"icmp": (1,), "tcp": (6,), "udp": (17,), "icmpv6": (58,), "ipv6-icmp": (58,), "th": (6, 17)}
FAMILIES = {"ip": (4,), "ip6": (6,), "inet": (4, 6), "bridge": (4, 6), "netdev": (4, 6), "arp": ()}
TYPES = {"echo-request": (8, 128), "echo-reply": (0, 129), "destination-unreachable": (3, 1), "packet-too-big": (-1, 2)}
SILENT = {"counter", "comment", "log", "mangle", "notrack", "flow"}


class FilteredPacket(Record):
    """A packet that passes the hooks of a namespace; 0 and empty mean unknown."""

    source: Address
    destination: Address
    protocol: int = 0
    port: int = 0
    source_port: int = 0
    type: int = -1
    input_device: str = ""
    output_device: str = ""
    states: tuple[str, ...] = ("new",)


class PacketDrop(Record):
    """A chain or a rule that drops the packet; `certain` if no match was unknown."""

    family: str
    table: str
    chain: str
    handle: int = 0
    verdict: str = "drop"
    certain: bool = True

    @property
    def words(self) -> str:
        chain = f"chain {self.family} {self.table} {self.chain}"
        words = f"rule {self.handle} of {chain}: {self.verdict}" if self.handle else f"{chain}: policy drop"
        return words if self.certain else f"{words} (perhaps)"

    @property
    def command(self) -> str:
        return f"nft -a list chain {self.family} {self.table} {self.chain}"


def find_drops(ruleset: Sequence[Row], hooks: Collection[str], packet: FilteredPacket) -> list[PacketDrop]:
    """The chains and rules that drop the packet at these hooks; the certain drops come first."""
    found = []
    for row in ruleset:
        chain = row.get("chain")
        if not chain or chain.get("hook") not in hooks or chain.get("type") == "nat":
            continue
        if packet.source.version in FAMILIES.get(chain["family"], ()):
            found += _Evaluation(ruleset, packet).base(chain)
    return sorted(found, key=lambda packet_drop: not packet_drop.certain)


class _Evaluation:
    """Evaluates a base chain, and the chains that it jumps to, for a packet."""

    def __init__(self, ruleset: Sequence[Row], packet: FilteredPacket) -> None:
        self.rules = [row["rule"] for row in ruleset if "rule" in row]
        sets = [row["set"] for row in ruleset if "set" in row]
        self.sets = {(each["family"], each["table"], each["name"]): each for each in sets}
        self.packet = packet
        self.certain = True
        self.found: list[PacketDrop] = []

    def base(self, chain: Row) -> list[PacketDrop]:
        verdict = self.chain(chain["family"], chain["table"], chain["name"], 0)
        if verdict is None and chain.get("policy") == "drop":
            self.found.append(PacketDrop(chain["family"], chain["table"], chain["name"], certain=self.certain))
        return self.found

    def chain(self, family: str, table: str, name: str, depth: int) -> str | None:
        """The verdict that ends the evaluation, or None at the end of the chain."""
        if depth > MOST_JUMPS:
            return None
        for rule in self.rules:
            if (rule["family"], rule["table"], rule["chain"]) != (family, table, name):
                continue
            matches, verdict, target = self.rule(rule)
            if matches is False or verdict is None:
                continue
            if verdict in ("jump", "goto"):
                before = self.certain
                self.certain = self.certain and matches is True
                ended = self.chain(family, table, target, depth + 1)
                if ended is not None and matches is True:
                    return ended
                self.certain = before and ended is None
                continue
            if verdict in ("drop", "reject"):
                certain = self.certain and matches is True
                self.found.append(PacketDrop(family, table, name, rule["handle"], verdict, certain))
            if verdict == "return" and matches is True:
                return None
            if matches is True:
                return verdict
            self.certain = False
        return None

    def rule(self, rule: Row) -> tuple[bool | None, str | None, str]:
        """(whether it matches, its verdict, the chain that it jumps to)."""
        matches: bool | None = True
        for part in rule.get("expr", ()):
            for verdict in ("accept", "drop", "reject", "return", "jump", "goto"):
                if verdict in part:
                    return matches, verdict, part[verdict]["target"] if verdict in ("jump", "goto") else ""
            if part.get("xt", {}).get("name") == "REJECT":
                return matches, "reject", ""
            if "match" in part:
                here = self.match(rule, part["match"])
                if here is False:
                    return False, None, ""
                matches = matches if here else None
            elif not set(part) & SILENT and part.get("xt", {}).get("name") != "comment":
                matches = None
        return matches, None, ""

    def match(self, rule: Row, match: Row) -> bool | None:
        have = self.left(match["left"])
        if not have:
            return None if have is None else False  # (): the packet has no such header
        wanted = self.right(rule, match["right"])
        results = [_equal(value, wanted_value) for value in have for wanted_value in wanted]
        positive: bool | None = True if True in results else (None if None in results else False)
        if match["op"] in ("==", "in"):
            return positive
        return None if match["op"] != "!=" or positive is None else not positive

    def left(self, left: Any) -> tuple[Any, ...] | None:
        """The packet's values for the left side of a match; () if it has no such header, None if they are unknown."""
        match left:
            case {"payload": payload}:
                return self._payload(payload)
            case {"meta": {"key": "nfproto" | "protocol"}}:
                return ("ipv4", "ip") if self.packet.source.version == 4 else ("ipv6", "ip6")
            case {"meta": {"key": "l4proto"}}:
                value: Any = self.packet.protocol
            case {"meta": {"key": "iifname" | "iif"}}:
                value = self.packet.input_device
            case {"meta": {"key": "oifname" | "oif"}}:
                value = self.packet.output_device
            case {"ct": {"key": "state"}}:
                return self.packet.states
            case _:
                return None
        return (value,) if value else None

    def _payload(self, payload: Row) -> tuple[Any, ...] | None:
        packet, protocol, field = self.packet, str(payload.get("protocol")), str(payload.get("field"))
        if protocol in ("ip", "ip6"):
            if (protocol == "ip") != (packet.source.version == 4):
                return ()
            header: dict[str, Any] = {"saddr": packet.source, "daddr": packet.destination}
            value = header.get(field) or (packet.protocol if field in ("protocol", "nexthdr") else None)
            return (value,) if value else None
        if not packet.protocol or protocol not in TRANSPORTS:
            return None
        if packet.protocol not in TRANSPORTS[protocol]:
            return ()
        if field == "type" and packet.type >= 0:
            return (packet.type,)
        port = {"dport": packet.port, "sport": packet.source_port}.get(field)
        return (port,) if port else None

    def right(self, rule: Row, right: Any) -> list[Any]:
        """The values of the right side of a match; a set gives its elements."""
        if isinstance(right, str) and right.startswith("@"):
            named = self.sets.get((rule["family"], rule["table"], right[1:]))
            return list(named.get("elem", ())) if named else [None]
        if isinstance(right, dict) and "set" in right:
            inner = right["set"]
            return list(inner) if isinstance(inner, list) else self.right(rule, inner)
        return list(right) if isinstance(right, list) else [right]


def _equal(have: Any, want: Any) -> bool | None:
    """Whether a packet's value equals a rule's value or is in its range; None: unknown."""
    if isinstance(want, dict) and "elem" in want:
        want = want["elem"].get("val")
    if isinstance(want, dict):
        return _within(have, want)
    if isinstance(have, (IPv4Address, IPv6Address)):
        return bool(str(have) == want)
    if isinstance(have, int) and isinstance(want, str):
        known = TYPES.get(want) or TRANSPORTS.get(want)
        return bool(have in known) if known else None
    if isinstance(want, str) and want.endswith("*"):
        return str(have).startswith(want[:-1])
    return None if want is None else bool(have == want)


def _within(have: Any, want: Row) -> bool | None:
    if "prefix" in want and isinstance(have, (IPv4Address, IPv6Address)):
        return bool(have in ip_network(f"{want['prefix']['addr']}/{want['prefix']['len']}", strict=False))
    if "range" not in want:
        return None
    low, high = want["range"]
    if isinstance(have, (IPv4Address, IPv6Address)):
        return int(ip_address(low)) <= int(have) <= int(ip_address(high))
    return low <= have <= high if isinstance(low, int) and isinstance(have, int) else None


def source_nat_rules(ruleset: Sequence[Row]) -> list[PacketDrop]:
    """The rules that change source addresses (masquerade, snat)."""
    found = []
    for rule in (row["rule"] for row in ruleset if "rule" in row):
        for part in rule.get("expr", ()):
            masquerades = "masquerade" in part or (part.get("xt") or {}).get("name") == "MASQUERADE"
            if masquerades or "snat" in part:
                verb = "masquerade" if masquerades else "snat"
                found.append(PacketDrop(rule["family"], rule["table"], rule["chain"], rule["handle"], verb))
    return found
