# SPDX-License-Identifier: Apache-2.0
"""Values of a JSON object with the type that they must have; a wrong type is CniError 6 that names the key.

The objects have lower-case keys (`document.folded`); `null` counts as absent everywhere, as in Go.
"""

from __future__ import annotations

from collections.abc import Iterator

from podwire.cni.document import Json, JsonObject, folded
from podwire.cni.errors import INVALID_CONFIGURATION, UNDECODABLE, CniError
from podwire.cni.result import ROUTE_NUMBERS, ResultRoute, parse_address, parse_network
from podwire.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Kind = TypeVar("Kind")

HEXADECIMAL = "0123456789abcdef"


def _typed(values: JsonObject, key: str, kind: type[Kind], wanted: str, items: type | None = None) -> Kind:
    """The value of a key, empty where it is absent. Raises CniError 6 if it, or an item of a list, has another type."""
    value: Json = values.get(key.lower())
    if value is None:
        return kind()
    wrong_items = items is not None and isinstance(value, list) and not all(isinstance(item, items) for item in value)
    if wrong_items or type(value) is not kind:
        raise CniError(UNDECODABLE, f"{key}={shown(value)} is not {wanted}: correct the network configuration")
    return value


def string(values: JsonObject, key: str) -> str:
    """A string; "" where absent."""
    return _typed(values, key, str, "a string")


def boolean(values: JsonObject, key: str, *, default: bool = False) -> bool:
    """true or false."""
    return default if values.get(key.lower()) is None else _typed(values, key, bool, "true or false")


def integer(values: JsonObject, key: str) -> int:
    """A whole number; 0 where absent."""
    return _typed(values, key, int, "a whole number")


def table(values: JsonObject, key: str, *, fold: bool = True) -> JsonObject:
    """An object, its keys folded; {} where absent."""
    value = _typed(values, key, dict, "an object")
    return folded(value) if fold else value


def strings(values: JsonObject, key: str) -> list[str]:
    """A list of strings; [] where absent."""
    return _typed(values, key, list, "a list of strings", items=str)


def listed(values: JsonObject, key: str) -> list[str]:
    """A list of strings, or one string with commas; [] where absent."""
    value = values.get(key.lower())
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return strings(values, key)


def objects(values: JsonObject, key: str) -> list[JsonObject]:
    """A list of objects, folded; [] where absent."""
    return [folded(item) for item in _typed(values, key, list, "a list of objects", items=dict)]


def dns(values: JsonObject) -> JsonObject:
    """The `dns` object with the specification's keys alone, spelled as it spells them."""
    raw = table(values, "dns")
    found: JsonObject = {"nameservers": strings(raw, "nameservers"), "domain": string(raw, "domain")}
    found |= {key: strings(raw, key) for key in ("search", "options")}
    return {key: value for key, value in found.items() if value}


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
