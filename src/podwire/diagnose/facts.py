"""What a place's kernel has to say about one packet: its route, neighbour, devices, forwarding, firewall.

Read only where something was lost, by the same commands that the report shows to people (iproute2, nft).
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from podwire import sysctl
from podwire.diagnose.namespaces import Places
from podwire.ip import Address

COMMAND_SECONDS = 10
Row = Mapping[str, Any]
SYSCTLS = {
    4: ("net/ipv4/ip_forward", "net/ipv4/icmp_echo_ignore_all"),
    6: ("net/ipv6/conf/all/forwarding", "net/ipv6/icmp/echo_ignore_all", "net/ipv6/conf/all/disable_ipv6"),
}


class Device(Struct, frozen=True):
    """A device, as `ip -d link` and `ip address` show it."""

    name: str
    up: bool
    carrier: bool
    mtu: int
    mac: str
    kind: str = ""
    master: str = ""
    vni: int = 0
    port: int = 0


class Way(Struct, frozen=True):
    """What `ip route get` answered: a way, or an error in its words. `default`: only the default route fits."""

    device: str = ""
    gateway: str = ""
    kind: str = ""
    default: bool = False
    error: str = ""


class Facts(Struct, frozen=True):
    """A place's part in a packet's way. `arrival_error` is the kernel's word on a packet that came in by its device.

    `back_device` is where the route to that packet's source leads.
    """

    place: str
    family: int
    kind: str = ""
    prefix: tuple[str, ...] = ()
    way: Way = Way()
    arrival_error: str = ""
    back_device: str = ""
    neighbour: str = ""
    neighbour_mac: str = ""
    devices: Mapping[str, Device] = {}
    addresses: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = {}
    ruleset: tuple[Row, ...] = ()
    legacy: bool = False


class Ask(Struct, frozen=True):
    """Which packet, at which place, to read facts about: where it had to go from there, and how it came.

    `came` is (destination, source) as it was on arrival at `came_by`; neither is there where the packet began.
    """

    place: str
    destination: Address
    came: tuple[Address, Address] | None = None
    came_by: str = ""


def read_facts(places: Places, ask: Ask) -> Facts:
    """Read them; what a missing program would have told is left empty."""
    family = ask.destination.version
    prefix = places.prefix(ask.place)

    def ip(*words: str) -> tuple[list[Row], str]:
        return _rows([*prefix, "ip", "-j", *words])

    way = _way(ip, str(ask.destination))
    arrival, back = "", ""
    if ask.came_by and ask.came is not None:
        to, source = (str(one) for one in ask.came)
        arrival = ip("route", "get", to, "from", source, "iif", ask.came_by)[1]
        back = _way(ip, source).device
    neighbour, mac = _neighbour(ip, way, ask.destination)
    devices = {one["ifname"]: _device(one) for one in ip("-d", "link", "show")[0]}
    rows = ip(f"-{family}", "address", "show")[0]
    ruleset = _ruleset([*prefix, "nft", "-j", "list", "ruleset"])
    keys = [*SYSCTLS[family], *_of_device(family, ask.came_by)]
    values, legacy = places.run(ask.place, lambda: (_read_sysctls(keys), _legacy()))
    return Facts(
        ask.place,
        family,
        kind=places.endpoints[ask.place].kind,
        prefix=tuple(prefix),
        way=way,
        arrival_error=arrival,
        back_device=back,
        neighbour=neighbour,
        neighbour_mac=mac,
        devices=devices,
        addresses=tuple(str(each.get("local", "")) for row in rows for each in row.get("addr_info", ())),
        sysctls=values,
        ruleset=ruleset,
        legacy=legacy,
    )


def _way(ip: Any, destination: str) -> Way:
    """Equals `ip route get ADDRESS`, then the same with `fibmatch`, which shows the route that was chosen."""
    found, error = ip("route", "get", destination)
    if not found:
        return Way(error=error)
    matched, _ = ip("route", "get", "fibmatch", destination)
    one = found[0]
    return Way(
        device=str(one.get("dev", "")),
        gateway=str(one.get("gateway") or one.get("via", {}).get("host", "")),
        kind=str(one.get("type", "unicast")),
        default=bool(matched) and matched[0].get("dst") in ("default", "0.0.0.0/0", "::/0"),
    )


def _neighbour(ip: Any, way: Way, destination: Address) -> tuple[str, str]:
    """(state, MAC) of the next hop: `ip neighbour show to ADDRESS dev DEVICE`; both empty if there is none."""
    if not way.device or way.device == "lo":
        return "", ""
    found, _ = ip("neighbour", "show", "to", way.gateway or str(destination), "dev", way.device)
    if not found:
        return "", ""
    return " ".join(found[0].get("state", ())), str(found[0].get("lladdr", ""))


def _device(row: Row) -> Device:
    info = row.get("linkinfo", {})
    data = info.get("info_data", {})
    return Device(
        str(row["ifname"]),
        "UP" in row.get("flags", ()),
        "LOWER_UP" in row.get("flags", ()),
        int(row.get("mtu", 0)),
        str(row.get("address", "")),
        str(info.get("info_kind", "")),
        str(row.get("master", "")),
        int(data.get("id", 0)) if info.get("info_kind") == "vxlan" else 0,
        int(data.get("port", 0)) if info.get("info_kind") == "vxlan" else 0,
    )


def _of_device(family: int, device: str) -> list[str]:
    if not device or "/" in device:
        return []
    filters = ["net/ipv4/conf/all/rp_filter", f"net/ipv4/conf/{device}/rp_filter"] if family == 4 else []
    return [f"net/ipv{family}/conf/{device}/forwarding", *filters]


def _read_sysctls(keys: Sequence[str]) -> dict[str, str]:
    return {key: value for key in keys if (value := sysctl.read(key)) is not None}


def _legacy() -> bool:
    """Does iptables of before nftables have tables here?"""
    for name in ("ip_tables_names", "ip6_tables_names"):
        try:
            with open(f"/proc/thread-self/net/{name}") as file:  # noqa: PTH123 -- of this thread's namespace
                if file.read().strip():
                    return True
        except OSError:
            continue
    return False


def _rows(argv: Sequence[str]) -> tuple[list[Row], str]:
    """A command's JSON rows, and what it said on stderr if it failed."""
    out, error = _run(argv)
    try:
        rows = msgspec.json.decode(out) if out.strip() else []
    except msgspec.DecodeError:
        rows = []
    return [one for one in rows if one], error.removeprefix("RTNETLINK answers: ").strip()


def _ruleset(argv: Sequence[str]) -> tuple[Row, ...]:
    out, _ = _run(argv)
    try:
        return tuple(msgspec.json.decode(out)["nftables"]) if out.strip() else ()
    except (msgspec.DecodeError, KeyError):
        return ()


def _run(argv: Sequence[str]) -> tuple[str, str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as failed:
        return "", str(failed)
    return done.stdout, done.stderr if done.returncode else ""
