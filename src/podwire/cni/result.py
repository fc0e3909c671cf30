# SPDX-License-Identifier: Apache-2.0
"""The result of ADD, encoded for every version (section 5: Success), and prevResult decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_interface, ip_network

from podwire.cni.document import Json, JsonObject, folded
from podwire.cni.errors import INCOMPATIBLE_VERSION, INVALID_CONFIGURATION, UNDECODABLE, CniError
from podwire.cni.versions import SUPPORTED, at_least
from podwire.ip import Address, Interface, Network
from podwire.record import Record
from podwire.text import shown

NOTHING: Mapping[str, Json] = {}
ROUTE_NUMBERS = ("mtu", "advmss", "priority", "table", "scope")


class ResultInterface(Record):
    """A device; `sandbox` is CNI_NETNS to the letter, "" on the host."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int | None = None
    extra: Mapping[str, Json] = NOTHING


class ResultAddress(Record):
    """An address with its prefix; `interface` counts into the result's interfaces."""

    address: Interface
    gateway: Address | None = None
    interface: int | None = None


class ResultRoute(Record):
    """A route in the sandbox; `numbers` holds what 1.1.0 adds (mtu, advmss, priority, table, scope)."""

    destination: Network
    gateway: Address | None = None
    numbers: Mapping[str, int] = NOTHING


class Result(Record):
    """Interfaces, addresses, routes and DNS of an attachment."""

    interfaces: Sequence[ResultInterface] = ()
    addresses: Sequence[ResultAddress] = ()
    routes: Sequence[ResultRoute] = ()
    dns: Mapping[str, Json] = NOTHING

    def joined(self, other: Result) -> Result:
        """This result followed by `other` (chaining: a previous result is extended, never dropped)."""
        shift = len(self.interfaces)
        moved = [
            ResultAddress(own.address, own.gateway, None if own.interface is None else own.interface + shift)
            for own in other.addresses
        ]
        known = {(route.destination, route.gateway) for route in self.routes}
        fresh = [route for route in other.routes if (route.destination, route.gateway) not in known]
        return Result(
            [*self.interfaces, *other.interfaces],
            [*self.addresses, *moved],
            [*self.routes, *fresh],
            other.dns or self.dns,
        )


def encode_result(result: Result, version: str) -> JsonObject:
    """`result` as the JSON object of `version`."""
    if not at_least(version, "0.3.0"):
        return _encode_oldest(result, version)
    lists = {
        "interfaces": [_encode_interface(interface, version) for interface in result.interfaces],
        "ips": [_encode_address(address, version) for address in result.addresses],
        "routes": [_encode_route(route, version) for route in result.routes],
    }
    return {"cniVersion": version, **_filled(lists), "dns": dict(result.dns)}


def _filled(values: JsonObject) -> JsonObject:
    return {key: value for key, value in values.items() if value}


def _encode_oldest(result: Result, version: str) -> JsonObject:
    """0.1.0 and 0.2.0: the first address of each family, and no interfaces."""
    answer: JsonObject = {"cniVersion": version}
    for family, key in ((4, "ip4"), (6, "ip6")):
        first = next((address for address in result.addresses if address.address.version == family), None)
        if first:
            routes = [_encode_route(route, version) for route in result.routes if route.destination.version == family]
            gateway = str(first.gateway) if first.gateway else ""
            answer[key] = _filled({"ip": str(first.address), "gateway": gateway, "routes": routes})
    answer["dns"] = dict(result.dns)
    return answer


def _encode_interface(interface: ResultInterface, version: str) -> JsonObject:
    newest = at_least(version, "1.1.0")
    found = {"mac": interface.mac, "mtu": interface.mtu if newest else None, "sandbox": interface.sandbox}
    return {"name": interface.name, **_filled(found), **(interface.extra if newest else {})}


def _encode_address(address: ResultAddress, version: str) -> JsonObject:
    answer: JsonObject = {} if at_least(version, "1.0.0") else {"version": str(address.address.version)}
    answer["address"] = str(address.address)
    if address.interface is not None:
        answer["interface"] = address.interface
    if address.gateway:
        answer["gateway"] = str(address.gateway)
    return answer


def _encode_route(route: ResultRoute, version: str) -> JsonObject:
    answer: JsonObject = {"dst": str(route.destination)}
    if route.gateway:
        answer["gw"] = str(route.gateway)
    return answer | (dict(route.numbers) if at_least(version, "1.1.0") else {})


def parse_result(raw: Json, where: str = "prevResult") -> Result:
    """A result of any version; raises CniError 6 for a wrong shape, 7 for a wrong value."""
    if not isinstance(raw, dict):
        raise CniError(UNDECODABLE, f"{where} is {shown(raw)}, not an object: pass on the result as it came")
    values = folded(raw)
    version = values.get("cniversion") or SUPPORTED[0]
    if version not in SUPPORTED:
        words = f"{where}.cniVersion={shown(version)} is not supported: use one of {', '.join(SUPPORTED)}"
        raise CniError(INCOMPATIBLE_VERSION, words)
    addresses = [_parse_address(entry, where) for entry in _objects(values, "ips", where)]
    routes = [_parse_route(entry, where) for entry in _objects(values, "routes", where)]
    for key in ("ip4", "ip6"):
        if isinstance(values.get(key), dict):
            oldest = folded(values[key])
            addresses.append(_parse_address({"address": oldest.get("ip"), **oldest}, where))
            routes += [_parse_route(entry, where) for entry in _objects(oldest, "routes", f"{where}.{key}")]
    dns = {} if values.get("dns") is None else values["dns"]
    if not isinstance(dns, dict):
        raise CniError(UNDECODABLE, f"{where}.dns={shown(dns)} is not an object")
    interfaces = [_parse_interface(entry, where) for entry in _objects(values, "interfaces", where)]
    return Result(interfaces, addresses, routes, dns)


def _objects(values: JsonObject, key: str, where: str) -> list[JsonObject]:
    found = [] if values.get(key) is None else values[key]
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise CniError(UNDECODABLE, f"{where}.{key}={shown(found)} is not a list of objects")
    return [folded(entry) for entry in found]


def _parse_interface(values: JsonObject, where: str) -> ResultInterface:
    name, mac, sandbox = (values.get(key) or "" for key in ("name", "mac", "sandbox"))
    mtu = values.get("mtu")
    if not all(isinstance(text, str) for text in (name, mac, sandbox)) or not isinstance(mtu, int | None):
        raise CniError(UNDECODABLE, f"{where}.interfaces holds {shown(values)}: wrong types")
    extra = {key: found for key in ("socketPath", "pciID") if isinstance(found := values.get(key.lower()), str)}
    return ResultInterface(name, mac, sandbox, mtu, extra)


def _parse_address(values: JsonObject, where: str) -> ResultAddress:
    index = values.get("interface")
    if isinstance(index, bool) or not isinstance(index, int | None):
        raise CniError(UNDECODABLE, f"{where}.ips: interface={shown(index)} is not a number")
    gateway = values.get("gateway")
    return ResultAddress(
        parse_interface_address(values.get("address"), f"{where}.ips"),
        parse_address(gateway, f"{where}.ips gateway") if gateway else None,
        index,
    )


def _parse_route(values: JsonObject, where: str) -> ResultRoute:
    gateway = values.get("gw")
    numbers = {
        key: value for key in ROUTE_NUMBERS if isinstance(value := values.get(key), int) and not isinstance(value, bool)
    }
    return ResultRoute(
        parse_network(values.get("dst"), f"{where}.routes dst"),
        parse_address(gateway, f"{where}.routes gw") if gateway else None,
        numbers,
    )


def _prefixed(value: Json, where: str) -> str:
    """An address with `/prefix`, as Go's net.ParseCIDR takes it: no mask in dots, no zone, no bare address."""
    if not isinstance(value, str):
        raise CniError(UNDECODABLE, f"{where}={shown(value)} is not a string: write an address such as 10.244.1.5/24")
    _, slash, prefix = value.partition("/")
    if not slash or not prefix.isascii() or not prefix.isdigit() or "%" in value:
        raise _invalid(value, where, "has no prefix length", "10.244.1.0/24")
    return value


def _invalid(value: Json, where: str, wrong: str, example: str) -> CniError:
    return CniError(INVALID_CONFIGURATION, f"{where}={shown(value)} {wrong}: write it like {example}")


def parse_address(value: Json, where: str) -> Address:
    """An address without prefix; raises CniError naming `where`."""
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError
        return ip_address(value)
    except ValueError:
        code = INVALID_CONFIGURATION if isinstance(value, str) else UNDECODABLE
        raise CniError(code, f"{where}={shown(value)} is not an IP address: write it like 10.244.1.1") from None


def parse_interface_address(value: Json, where: str) -> Interface:
    """An address with its prefix; raises CniError naming `where`."""
    try:
        return ip_interface(_prefixed(value, where))
    except ValueError:
        raise _invalid(value, where, "is not an address", "10.244.1.5/24") from None


def parse_network(value: Json, where: str) -> Network:
    """A range such as 10.244.0.0/16 (host bits are dropped, as Go does); raises CniError naming `where`."""
    try:
        return ip_network(_prefixed(value, where), strict=False)
    except ValueError:
        raise _invalid(value, where, "is not an address range", "10.244.0.0/16") from None
