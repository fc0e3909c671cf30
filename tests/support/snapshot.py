# SPDX-License-Identifier: Apache-2.0
"""What a namespace's kernel state is at one moment, as comparable lines, and how two moments differ."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.support.namespace import Namespace, Row

# `ip` says on stderr that a dump changed under its hands, and ends with 0; then it is read again.
_INTERRUPTED, _READINGS = "interrupted", 10
SYSCTLS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
_COUNTER = re.compile(r"counter packets \d+ bytes \d+")
_BATCH = "link show\naddr show\nroute show table all\nrule show\nneigh show nud permanent\n"
# What moves by itself: duplicate address detection, carrier, life times, the MACs that a bridge has learned.
_RESTLESS_LINK = ("operstate", "flags", "carrier_changes", "inet6_addr_gen_mode")
_RESTLESS_DETAILS = ("state", "topology_change", "topology_change_ack", "topology_change_detected", "fdb_n_learned")
# podwire notes on a device that all pods share which address went out last: not undone with an ADD that failed.
_CURSOR = re.compile(r" last-lease [0-9a-f.:/ ]+")
_LOCAL_ONLY = ("fe80:", "ff00:", "multicast", "anycast")

Snapshot = frozenset[str]


class SnapshotError(Exception):
    """The state could not be read as a whole."""


def _batch(namespace: Namespace, family: int) -> Iterator[list[Row]]:
    """What the commands print, one list each. A command that fails fails the snapshot."""
    argv = ["ip", "-j", "-d", f"-{family}", "-n", namespace.name, "-batch", "-"]
    for _ in range(_READINGS):
        done = subprocess.run(argv, input=_BATCH, text=True, capture_output=True, check=False, timeout=60)
        if done.returncode:
            raise SnapshotError(f"{namespace}: {_BATCH!r}: {done.stderr.strip()}")
        if _INTERRUPTED not in done.stderr:
            break
    else:
        raise SnapshotError(f"{namespace}: interrupted {_READINGS} times: {done.stderr.strip()}")
    decoder = json.JSONDecoder()
    text, printed = done.stdout.strip(), 0
    while text:
        rows, end = decoder.raw_decode(text)
        yield [row for row in rows if row]
        text, printed = text[end:].lstrip(), printed + 1
    if printed != len(_BATCH.splitlines()):
        raise SnapshotError(f"{namespace}: {printed} answers to {_BATCH!r}: {done.stderr.strip()}")


def _line(kind: str, row: dict[str, Any]) -> str:
    return f"{kind} {json.dumps(row, sort_keys=True)}"


def _still(value: Any) -> Any:
    """A link's details without the bridge's timers and what follows them."""
    if isinstance(value, dict):
        return {
            key: _still(each)
            for key, each in value.items()
            if not key.endswith("_timer") and key not in _RESTLESS_DETAILS
        }
    return value


def _link_line(row: Row) -> str:
    flags = sorted(set(row.get("flags", [])) & {"UP", "PROMISC", "NOARP"})
    link = {key: str(_still(value)) for key, value in row.items() if key not in _RESTLESS_LINK}
    return _CURSOR.sub("", _line("link", {**link, "up": flags}))


def _address_lines(row: Row) -> Iterator[str]:
    for address in row["addr_info"]:
        if address["family"] == "inet6" and address["scope"] == "link":
            continue
        kept = {key: address.get(key) for key in ("local", "prefixlen", "scope", "label")}
        yield _line(f"address {row['ifname']}", kept)


def _row_lines(row: Row, family: int) -> Iterator[str]:
    if "addr_info" in row:
        yield from _address_lines(row)
    elif "ifname" in row:
        yield _link_line(row)
    elif "priority" in row:
        yield _line(f"rule {family}", row)
    elif str(row.get("dst", "")).startswith(_LOCAL_ONLY) or row.get("type") in ("multicast", "anycast"):
        return
    elif (row.get("table"), row.get("protocol")) == ("local", "kernel"):
        return  # follows an address, for IPv6 only once duplicate address detection is over
    elif "lladdr" in row:
        yield _line(f"neighbour {family}", {key: str(row.get(key)) for key in ("dst", "dev", "lladdr", "state")})
    else:
        yield _line(f"route {family}", {key: str(value) for key, value in row.items() if key != "flags"})


def snapshot(namespace: Namespace) -> Snapshot:
    """Links, addresses, routes, rules, permanent neighbours, nft ruleset and forwarding, as lines."""
    lines: set[str] = set()
    for family in (4, 6):
        for rows in _batch(namespace, family):
            for row in rows:
                lines.update(_row_lines(row, family))
    lines.update(f"nft {line}" for line in _COUNTER.sub("counter", namespace.ruleset()).splitlines())
    values = namespace.run("sysctl", *SYSCTLS).stdout
    lines.update(f"sysctl {line}" for line in values.splitlines())
    return frozenset(lines)


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """What went (`-`) and what came (`+`), sorted; empty when nothing changed."""
    return sorted([f"- {line}" for line in before - after] + [f"+ {line}" for line in after - before])
