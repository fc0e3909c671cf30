"""The network configuration: what stands on standard input, checked and typed (section 1: Configuration)."""

from __future__ import annotations

from collections.abc import Mapping

from podwire.bandwidth.config import Bandwidth, bandwidth
from podwire.cni import fields as take
from podwire.cni.document import Json, JsonObject, folded, parse
from podwire.cni.errors import (
    INCOMPATIBLE_VERSION,
    INVALID_CONFIGURATION,
    UNSUPPORTED_FIELD,
    CniError,
)
from podwire.cni.request import is_identifier, why_not_an_interface_name
from podwire.cni.result import NOTHING, Result, ResultRoute, parse_network, parse_result
from podwire.cni.versions import SUPPORTED
from podwire.hostports.config import PortMapping, port_mappings
from podwire.ip import Network
from podwire.ipam.config import parse_ranges
from podwire.ipam.ranges import RangeSet
from podwire.record import Record
from podwire.text import shown

MODES = ("bridge", "routed")
ROUTED_GATEWAY_DEVICE = "podwire0"
UNSUPPORTED = ("vlan", "vlantrunk", "macspoofchk", "enabledad", "preservedefaultvlan", "portisolation")
MTU_LIMITS = (68, 65535)
DEFAULT_MTU = 1500


class Attachments(Record):
    """GC's list of what is still wanted: (container ID, interface name); None where the key is absent."""

    valid: frozenset[tuple[str, str]] | None = None


class Configuration(Record):
    """A network configuration. `ipam_type` is "" where podwire leases the addresses itself."""

    version: str
    name: str
    type: str
    mode: str = "bridge"
    bridge: str = "cni0"
    cluster: tuple[Network, ...] = ()
    range_sets: tuple[RangeSet, ...] = ()
    routes: tuple[ResultRoute, ...] | None = None
    mtu: int | None = None
    mac: str = ""
    dns: Mapping[str, Json] = NOTHING
    hairpin: bool = False
    promiscuous: bool = False
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
    attachments: Attachments = Attachments()

    @property
    def pod_mtu(self) -> int:
        """The MTU that both ends of the veth have: the configured one, else the kernel's default."""
        return self.mtu or DEFAULT_MTU

    @property
    def gateway_device(self) -> str:
        """The host's device that carries the gateway addresses."""
        return self.bridge if self.mode == "bridge" else ROUTED_GATEWAY_DEVICE


def version_of(data: bytes) -> str:
    """The configuration's cniVersion for an error's sake: a supported one, else the newest. Never raises."""
    try:
        version = folded(parse(data)).get("cniversion") or SUPPORTED[0]
    except CniError:
        return SUPPORTED[-1]
    return version if version in SUPPORTED else SUPPORTED[-1]


def check_version(raw: JsonObject) -> str:
    """The configuration's version; absent or "" means 0.1.0. Raises CniError 1 or 6."""
    version = take.string(raw, "cniVersion") or SUPPORTED[0]
    if version not in SUPPORTED:
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion={shown(version)} is not supported: use one of {', '.join(SUPPORTED)}",
            f"supported versions: {', '.join(SUPPORTED)}",
        )
    return version


def parse_configuration(data: bytes) -> Configuration:
    """The configuration in `data`; raises CniError 1, 2, 6 or 7. Keys that podwire does not know are ignored."""
    raw = folded(parse(data))
    version = check_version(raw)
    name = _name(raw)
    plugin_type = take.string(raw, "type")
    runtime, args = take.table(raw, "runtimeConfig"), take.table(take.table(raw, "args"), "cni")
    common: JsonObject = {
        "version": version,
        "name": name,
        "type": plugin_type,
        "prev_result": parse_result(raw["prevresult"]) if raw.get("prevresult") is not None else None,
        "attachments": _attachments(raw),
    }
    if plugin_type == "loopback":
        return Configuration(**common)
    return Configuration(**common, **_wiring(raw, runtime, args), **_addressing(raw, runtime, args))


def parse_identity(data: bytes) -> Configuration:
    """What DEL needs of a configuration: the network's name and who gave the addresses.

    A configuration that became wrong since ADD must not keep a pod from being removed. Raises CniError 1, 6 or 7.
    """
    raw = folded(parse(data))
    version, name = check_version(raw), _name(raw)
    ipam = raw.get("ipam")
    ipam_type = folded(ipam).get("type") if isinstance(ipam, dict) else ""
    own = not isinstance(ipam_type, str) or ipam_type in ("", "podwire") or "/" in ipam_type
    plugin_type = raw.get("type")
    return Configuration(
        version, name, plugin_type if isinstance(plugin_type, str) else "", ipam_type="" if own else str(ipam_type)
    )


def _name(raw: JsonObject) -> str:
    name = take.string(raw, "name")
    if not name:
        raise CniError(INVALID_CONFIGURATION, "the configuration has no name: give the network one, such as podwire")
    if not is_identifier(name):
        raise CniError(
            INVALID_CONFIGURATION,
            f"name={shown(name)} is not valid: it must begin with a letter or digit and go on with letters, "
            "digits, '_', '.' or '-'",
        )
    return name


def _wiring(raw: JsonObject, runtime: JsonObject, args: JsonObject) -> JsonObject:
    for key in UNSUPPORTED:
        if raw.get(key):
            raise CniError(UNSUPPORTED_FIELD, f"{key}={shown(raw[key])} is not supported: remove the key")
    mode = take.string(raw, "mode") or "bridge"
    if mode not in MODES:
        raise CniError(INVALID_CONFIGURATION, f"mode={shown(mode)} is unknown: use {' or '.join(MODES)}")
    bridge = take.string(raw, "bridge") or "cni0"
    if reason := why_not_an_interface_name(bridge):
        raise CniError(INVALID_CONFIGURATION, f"bridge={shown(bridge)} is not a device name: it {reason}")
    mtu = take.integer(raw, "mtu")
    if mtu and not MTU_LIMITS[0] <= mtu <= MTU_LIMITS[1]:
        raise CniError(INVALID_CONFIGURATION, f"mtu={mtu} is not between {MTU_LIMITS[0]} and {MTU_LIMITS[1]}")
    return {
        "mode": mode,
        "bridge": bridge,
        "mtu": mtu or None,
        "mac": take.mac(raw, "mac"),
        "requested_mac": take.mac(runtime, "mac") or take.mac(args, "mac"),
        "dns": take.dns(raw),
        "hairpin": take.boolean(raw, "hairpinMode"),
        "promiscuous": take.boolean(raw, "promiscMode"),
        "port_mappings": port_mappings(runtime),
        "bandwidth": bandwidth(runtime),
    }


def _addressing(raw: JsonObject, runtime: JsonObject, args: JsonObject) -> JsonObject:
    ipam = take.table(raw, "ipam")
    ipam_type = take.string(ipam, "type")
    own = ipam_type in ("", "podwire")
    if not own and ("/" in ipam_type or ipam_type in (".", "..")):
        raise CniError(INVALID_CONFIGURATION, f"ipam.type={shown(ipam_type)} is a path: use the bare name of a plug-in")
    range_sets = parse_ranges(raw, ipam, runtime) if own else ()
    layer2 = own and not range_sets and isinstance(raw.get("ipam"), dict) and raw.get("mode") != "routed"
    if own and not range_sets and not layer2:
        raise CniError(
            INVALID_CONFIGURATION,
            "the configuration has no addresses to give: set subnet (such as 10.244.1.0/24), ranges or ipam",
        )
    default_gateway = take.boolean(raw, "isDefaultGateway")
    routes = raw.get("routes", ipam.get("routes"))
    if routes is None and raw.get("isdefaultgateway") is False:
        routes = []
    return {
        "cluster": tuple(parse_network(one, "network") for one in take.listed(raw, "network")),
        "range_sets": range_sets,
        "routes": None if routes is None else tuple(take.routes(routes)),
        "masquerade": take.boolean(raw, "ipMasq", default=own and bool(raw.get("network"))),
        "masquerade_exceptions": tuple(
            parse_network(one, "nonMasqueradeCIDRs") for one in take.listed(raw, "nonMasqueradeCIDRs")
        ),
        "is_gateway": default_gateway or take.boolean(raw, "isGateway", default=own and not layer2),
        "is_default_gateway": default_gateway,
        "ipam_type": "" if own else ipam_type,
        "layer2": layer2,
        "requested": tuple(take.strings(runtime, "ips") or take.strings(args, "ips")),
    }


def _attachments(raw: JsonObject) -> Attachments:
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        if key not in raw:
            continue
        wanted = set()
        for one in take.objects(raw, key):
            identity = take.string(one, "containerID"), take.string(one, "ifname")
            if not all(identity):
                raise CniError(
                    INVALID_CONFIGURATION,
                    f"{key} holds {shown(one)} without containerID or ifname: nothing was removed",
                )
            wanted.add(identity)
        return Attachments(frozenset(wanted))
    return Attachments()
