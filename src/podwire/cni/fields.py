"""Values of a JSON object with the type that they must have; a wrong type is CniError 6 that names the key.

The objects have lower-case keys (`document.folded`); `null` counts as absent everywhere, as in Go.
"""

from __future__ import annotations

from collections.abc import Iterator

from podwire.cni.document import Json, JsonObject, folded
from podwire.cni.errors import INVALID_CONFIGURATION, UNDECODABLE, CniError
from podwire.cni.result import ROUTE_NUMBERS, ResultRoute, parse_address, parse_network
from podwire.text import shown

HEXADECIMAL = "0123456789abcdef"


def _wrong(key: str, value: Json, wanted: str) -> CniError:
    return CniError(UNDECODABLE, f"{key}={shown(value)} is not {wanted}: correct the network configuration")


def string(values: JsonObject, key: str) -> str:
    """A string; "" where absent."""
    value = values.get(key.lower())
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(key, value, "a string")
    return value


def boolean(values: JsonObject, key: str, *, default: bool = False) -> bool:
    """true or false."""
    value = values.get(key.lower())
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def integer(values: JsonObject, key: str) -> int:
    """A whole number; 0 where absent."""
    value = values.get(key.lower())
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(key, value, "a whole number")
    return value


def table(values: JsonObject, key: str, *, fold: bool = True) -> JsonObject:
    """An object, its keys folded; {} where absent."""
    value = values.get(key.lower())
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(key, value, "an object")
    return folded(value) if fold else value


def strings(values: JsonObject, key: str) -> list[str]:
    """A list of strings; [] where absent."""
    value = values.get(key.lower())
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(key, value, "a list of strings")
    return value


def listed(values: JsonObject, key: str) -> list[str]:
    """A list of strings, or one string with commas; [] where absent."""
    value = values.get(key.lower())
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return strings(values, key)


def objects(values: JsonObject, key: str) -> list[JsonObject]:
    """A list of objects, folded; [] where absent."""
    value = values.get(key.lower())
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _wrong(key, value, "a list of objects")
    return [folded(item) for item in value]


def dns(values: JsonObject) -> JsonObject:
    """The `dns` object with the specification's keys alone, spelled as it spells them."""
    raw = table(values, "dns")
    found: JsonObject = {"nameservers": strings(raw, "nameservers")} if strings(raw, "nameservers") else {}
    if domain := string(raw, "domain"):
        found["domain"] = domain
    for key in ("search", "options"):
        if listed_ := strings(raw, key):
            found[key] = listed_
    return found


def mac(values: JsonObject, key: str) -> str:
    """A unicast MAC address in lower case with colons; "" where absent. Raises CniError 7 if it is malformed."""
    return checked_mac(string(values, key), key)


def checked_mac(value: str, key: str) -> str:
    """`value` as a unicast MAC address; "" stays ""."""
    if not value:
        return ""
    parts = value.replace("-", ":").lower().split(":")
    if len(parts) != 6 or any(len(part) != 2 or part.strip(HEXADECIMAL) for part in parts):
        raise CniError(INVALID_CONFIGURATION, f"{key}={shown(value)} is not a MAC: write it like 02:00:00:00:00:01")
    value = ":".join(parts)
    if int(value[:2], 16) & 1 or value == "00:00:00:00:00:00":
        raise CniError(INVALID_CONFIGURATION, f"{key}={value} is no unicast MAC: use one such as 02:00:00:00:00:01")
    return value


def routes(value: Json) -> Iterator[ResultRoute]:
    """Routes of a configuration: `[{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]`."""
    for route in objects({"routes": value}, "routes"):
        gateway = string(route, "gw")
        numbers = {key: integer(route, key) for key in ROUTE_NUMBERS if route.get(key) is not None}
        if any(not 0 <= number < 2**32 for number in numbers.values()):
            raise CniError(INVALID_CONFIGURATION, f"routes={shown(route)}: numbers must fit into 32 bits, unsigned")
        destination = parse_network(route.get("dst"), "routes.dst")
        via = parse_address(gateway, "routes.gw") if gateway else None
        if via is not None and via.version != destination.version:
            raise CniError(INVALID_CONFIGURATION, f"routes: dst {destination} and gw {via} are of two families")
        yield ResultRoute(destination, via, numbers)
