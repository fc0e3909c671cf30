# SPDX-License-Identifier: Apache-2.0
"""Reads the state of a network namespace that decides about a packet: route, neighbour, devices, sysctls, firewall.

It is read only where a packet was lost, by the commands that the report shows (iproute2, nft).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from podwire import sysctl
from podwire.diagnose.namespaces import Namespaces
from podwire.ip import Address
from podwire.record import Record

COMMAND_SECONDS = 10
Row = Mapping[str, Any]
SYSCTLS = {
    4: ("net/ipv4/ip_forward", "net/ipv4/icmp_echo_ignore_all"),
    6: ("net/ipv6/conf/all/forwarding", "net/ipv6/icmp/echo_ignore_all", "net/ipv6/conf/all/disable_ipv6"),
}


class Device(Record):
    """A device, as `ip -d link show` shows it."""

    name: str
    up: bool
    carrier: bool
    mtu: int
    mac: str
    kind: str = ""
    master: str = ""
    vni: int = 0
    port: int = 0


class Route(Record):
    """The answer of `ip route get`: a route or its error. `default`: only the default route matches."""

    device: str = ""
    gateway: str = ""
    kind: str = ""
    default: bool = False
    error: str = ""


class NetworkState(Record):
    """The state of an endpoint's namespace for a packet.

    `input_error` is the kernel's error for the packet at its input device; `reply_device` is the device of the route
    to the packet's source.
    """

    endpoint: str
    family: int
    kind: str = ""
    prefix: tuple[str, ...] = ()
    route: Route = Route()
    input_error: str = ""
    reply_device: str = ""
    neighbour: str = ""
    neighbour_mac: str = ""
    devices: Mapping[str, Device] = {}
    addresses: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = {}
    ruleset: tuple[Row, ...] = ()
    legacy: bool = False

    @property
    def tunnel_port(self) -> int:
        """The UDP port of its VXLAN device, or 0."""
        return next((device.port for device in self.devices.values() if device.kind == "vxlan"), 0)


class StateQuery(Record):
    """A packet at an endpoint: the destination to which it goes from there, and how it arrived.

    `received` is its (destination, source) on arrival at `input_device`; both are empty where the packet was made.
    """

    endpoint: str
    destination: Address
    received: tuple[Address, Address] | None = None
    input_device: str = ""


def read_network_state(namespaces: Namespaces, query: StateQuery) -> NetworkState:
    """Read the state; a field whose program is missing stays empty."""
    family = query.destination.version
    prefix = namespaces.prefix(query.endpoint)

    def ip(*words: str) -> tuple[list[Row], str]:
        rows, error = _json([*prefix, "ip", "-j", *words], [])
        return [row for row in rows if row], error.removeprefix("RTNETLINK answers: ").strip()

    route = _route(ip, str(query.destination))
    input_error, reply_device = "", ""
    if query.input_device and query.received is not None:
        destination, source = (str(address) for address in query.received)
        input_error = ip("route", "get", destination, "from", source, "iif", query.input_device)[1]
        reply_device = _route(ip, source).device
    neighbour = _neighbour(ip, route, query.destination)
    rows = ip(f"-{family}", "address", "show")[0]
    keys = list(SYSCTLS[family])
    if query.input_device and "/" not in query.input_device:
        keys.append(f"net/ipv{family}/conf/{query.input_device}/forwarding")
        keys += [f"net/ipv4/conf/{name}/rp_filter" for name in ("all", query.input_device)] if family == 4 else []
    values, legacy = namespaces.run(query.endpoint, lambda: _read_inside(keys))
    return NetworkState(
        *(query.endpoint, family, namespaces.endpoints[query.endpoint].kind, tuple(prefix), route),
        input_error=input_error,
        reply_device=reply_device,
        neighbour=" ".join(neighbour.get("state", ())),
        neighbour_mac=str(neighbour.get("lladdr", "")),
        devices={row["ifname"]: _device(row) for row in ip("-d", "link", "show")[0]},
        addresses=tuple(str(each.get("local", "")) for row in rows for each in row.get("addr_info", ())),
        sysctls=values,
        ruleset=tuple(_json([*prefix, "nft", "-j", "list", "ruleset"], {})[0].get("nftables", ())),
        legacy=legacy,
    )


def _route(ip: Any, destination: str) -> Route:
    """`ip route get ADDRESS`, then `ip route get fibmatch ADDRESS`, which shows the route that matches."""
    found, error = ip("route", "get", destination)
    if not found:
        return Route(error=error)
    matched, _ = ip("route", "get", "fibmatch", destination)
    route = found[0]
    return Route(
        device=str(route.get("dev", "")),
        gateway=str(route.get("gateway") or route.get("via", {}).get("host", "")),
        kind=str(route.get("type", "unicast")),
        default=bool(matched) and matched[0].get("dst") in ("default", "0.0.0.0/0", "::/0"),
    )


def _neighbour(ip: Any, route: Route, destination: Address) -> Row:
    """The neighbour entry of the next hop, `ip neighbour show to ADDRESS dev DEVICE`; empty if there is none."""
    if not route.device or route.device == "lo":
        return {}
    found, _ = ip("neighbour", "show", "to", route.gateway or str(destination), "dev", route.device)
    return found[0] if found else {}


def _device(row: Row) -> Device:
    info, flags = row.get("linkinfo", {}), row.get("flags", ())
    kind = str(info.get("info_kind", ""))
    data = info.get("info_data", {}) if kind == "vxlan" else {}
    return Device(
        *(str(row["ifname"]), "UP" in flags, "LOWER_UP" in flags, int(row.get("mtu", 0)), str(row.get("address", ""))),
        *(kind, str(row.get("master", "")), int(data.get("id", 0)), int(data.get("port", 0))),
    )


def _read_inside(keys: Sequence[str]) -> tuple[dict[str, str], bool]:
    """The sysctls of this namespace, and whether iptables-legacy has tables in it."""
    values = {key: value for key in keys if (value := sysctl.read(key)) is not None}
    legacy = False
    for name in ("ip_tables_names", "ip6_tables_names"):
        with suppress(OSError):
            legacy |= bool(Path(f"/proc/thread-self/net/{name}").read_text().strip())
    return values, legacy


def _json(argv: Sequence[str], default: Any) -> tuple[Any, str]:
    """A command's JSON, or `default`; and its standard error if it failed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as failed:
        return default, str(failed)
    found = default
    with suppress(msgspec.DecodeError):
        found = msgspec.json.decode(done.stdout)
    return found, done.stderr if done.returncode else ""
