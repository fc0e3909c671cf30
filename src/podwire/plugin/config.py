# SPDX-License-Identifier: Apache-2.0
"""The network configuration: the JSON object on standard input, checked and typed (section 1: Configuration)."""

from __future__ import annotations

from collections.abc import Mapping

from podwire.bandwidth.config import Bandwidth, bandwidth
from podwire.cni import fields as take
from podwire.cni.document import Json, JsonObject, dump, folded, parse
from podwire.cni.errors import INCOMPATIBLE_VERSION, UNSUPPORTED_FIELD, CniError, invalid
from podwire.cni.request import is_identifier
from podwire.cni.result import NOTHING, Result, ResultRoute, encode_result, parse_network, parse_result
from podwire.cni.versions import SUPPORTED
from podwire.datapath.bridge import Bridge
from podwire.datapath.modes import parse_datapath
from podwire.datapath.protocol import Datapath
from podwire.hostports.config import PortMapping, port_mappings
from podwire.ip import Network
from podwire.ipam.config import parse_ranges
from podwire.ipam.ranges import RangeSet
from podwire.record import Record
from podwire.text import shown

UNSUPPORTED = ("vlan", "vlantrunk", "macspoofchk", "enabledad", "preservedefaultvlan", "portisolation")


class Configuration(Record):
    """A network configuration. `ipam_type` is "" if podwire leases the addresses itself.

    `valid_attachments` is GC's list, as (container ID, interface name); None if the key is absent.
    """

    version: str
    name: str
    type: str
    datapath: Datapath = Bridge()
    cluster: tuple[Network, ...] = ()
    range_sets: tuple[RangeSet, ...] = ()
    routes: tuple[ResultRoute, ...] | None = None
    mac: str = ""
    dns: Mapping[str, Json] = NOTHING
    masquerade: bool = False
    masquerade_exceptions: tuple[Network, ...] = ()
    is_gateway: bool = True
    is_default_gateway: bool = False
    ipam_type: str = ""
    layer2: bool = False
    requested: tuple[str, ...] = ()
    requested_mac: str = ""
    port_mappings: tuple[PortMapping, ...] = ()
    bandwidth: Bandwidth | None = None
    prev_result: Result | None = None
    valid_attachments: frozenset[tuple[str, str]] | None = None

    def answer(self, own: Result) -> bytes:
        """What ADD prints: the results of earlier plugins of the chain, then podwire's own, in this version."""
        return dump(encode_result(self.prev_result.joined(own) if self.prev_result else own, self.version))


def version_of(data: bytes) -> str:
    """The configuration's cniVersion for an error object: a supported one, else the newest. Never raises."""
    try:
        version = folded(parse(data)).get("cniversion") or SUPPORTED[0]
    except CniError:
        return SUPPORTED[-1]
    return version if version in SUPPORTED else SUPPORTED[-1]


def check_version(raw: JsonObject) -> str:
    """The configuration's version; absent or "" means 0.1.0. Raises CniError 1 or 6."""
    version = take.string(raw, "cniVersion") or SUPPORTED[0]
    if version not in SUPPORTED:
        known = ", ".join(SUPPORTED)
        reason = f"cniVersion={shown(version)} is not supported: use one of {known}"
        raise CniError(INCOMPATIBLE_VERSION, reason, f"supported versions: {known}")
    return version


def parse_configuration(data: bytes) -> Configuration:
    """The configuration in `data`; raises CniError 1, 2, 6 or 7. Keys that podwire does not know are ignored."""
    raw = folded(parse(data))
    version, name, plugin_type = check_version(raw), _name(raw), take.string(raw, "type")
    runtime, args = take.table(raw, "runtimeConfig"), take.table(take.table(raw, "args"), "cni")
    common: JsonObject = {
        "version": version,
        "name": name,
        "type": plugin_type,
        "prev_result": parse_result(raw["prevresult"]) if raw.get("prevresult") is not None else None,
        "valid_attachments": _valid_attachments(raw),
    }
    if plugin_type == "loopback":
        return Configuration(**common)
    for key in UNSUPPORTED:
        if raw.get(key):
            raise CniError(UNSUPPORTED_FIELD, f"{key}={shown(raw[key])} is not supported: remove the key")
    datapath = parse_datapath(raw)
    return Configuration(
        **common,
        datapath=datapath,
        mac=take.mac(raw, "mac"),
        requested_mac=take.mac(runtime, "mac") or take.mac(args, "mac"),
        dns=take.dns(raw),
        port_mappings=port_mappings(runtime),
        bandwidth=bandwidth(runtime),
        **_addressing(raw, runtime, args, supports_layer2=datapath.supports_layer2),
    )


def parse_identity(data: bytes) -> Configuration:
    """What DEL needs of a configuration: the network's name and the IPAM plugin. Raises CniError 1, 6 or 7."""
    raw = folded(parse(data))
    version, name = check_version(raw), _name(raw)
    ipam = raw.get("ipam")
    ipam_type = folded(ipam).get("type") if isinstance(ipam, dict) else ""
    own = not isinstance(ipam_type, str) or ipam_type in ("", "podwire") or "/" in ipam_type
    kind = raw["type"] if isinstance(raw.get("type"), str) else ""
    return Configuration(version, name, kind, ipam_type="" if own else str(ipam_type))


def _name(raw: JsonObject) -> str:
    name = take.string(raw, "name")
    if not name:
        raise invalid("the configuration has no name: give the network one, such as podwire")
    if not is_identifier(name):
        rule = "it must begin with a letter or digit and go on with letters, digits, '_', '.' or '-'"
        raise invalid(f"name={shown(name)} is not valid: {rule}")
    return name


def _addressing(raw: JsonObject, runtime: JsonObject, args: JsonObject, *, supports_layer2: bool) -> JsonObject:
    ipam = take.table(raw, "ipam")
    ipam_type = take.string(ipam, "type")
    own = ipam_type in ("", "podwire")
    if not own and ("/" in ipam_type or ipam_type in (".", "..")):
        raise invalid(f"ipam.type={shown(ipam_type)} is a path: use the bare name of a plugin")
    range_sets = parse_ranges(raw, ipam, runtime) if own else ()
    layer2 = own and not range_sets and isinstance(raw.get("ipam"), dict) and supports_layer2
    if own and not range_sets and not layer2:
        raise invalid("the configuration has no addresses to give: set subnet (such as 10.244.1.0/24), ranges or ipam")
    default_gateway = take.boolean(raw, "isDefaultGateway")
    routes = raw.get("routes", ipam.get("routes"))
    if routes is None and raw.get("isdefaultgateway") is False:
        routes = []
    return {
        "cluster": _networks(raw, "network"),
        "range_sets": range_sets,
        "routes": None if routes is None else tuple(take.routes(routes)),
        "masquerade": take.boolean(raw, "ipMasq", default=own and bool(raw.get("network"))),
        "masquerade_exceptions": _networks(raw, "nonMasqueradeCIDRs"),
        "is_gateway": default_gateway or take.boolean(raw, "isGateway", default=own and not layer2),
        "is_default_gateway": default_gateway,
        "ipam_type": "" if own else ipam_type,
        "layer2": layer2,
        "requested": tuple(take.strings(runtime, "ips") or take.strings(args, "ips")),
    }


def _networks(raw: JsonObject, key: str) -> tuple[Network, ...]:
    return tuple(parse_network(text, key) for text in take.listed(raw, key))


def _valid_attachments(raw: JsonObject) -> frozenset[tuple[str, str]] | None:
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        if key not in raw:
            continue
        wanted = set()
        for entry in take.objects(raw, key):
            identity = take.string(entry, "containerID"), take.string(entry, "ifname")
            if not all(identity):
                raise invalid(f"{key} holds {shown(entry)} without containerID or ifname: nothing was removed")
            wanted.add(identity)
        return frozenset(wanted)
    return None
