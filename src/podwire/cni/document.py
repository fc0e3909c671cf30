"""JSON from outside as Go's runtimes read it: keys without regard to case, the last of several wins."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from podwire.cni.errors import UNDECODABLE, CniError

LONGEST_INTEGER = 4000
HINT = "the runtime must write one JSON object, the network configuration, to standard input"


def parse(data: bytes, source: str = "standard input", code: int = UNDECODABLE, hint: str = HINT) -> dict[str, Any]:
    """The object in `data` (RFC 8259); raises CniError `code` that names the `source`.

    Text that is not UTF-8 and lone surrogates become U+FFFD, as in Go; NaN, a byte order mark, UTF-16 and
    anything behind the object are refused.
    """
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        try:
            found = _parse_leniently(data)
        except ValueError as wrong:
            raise CniError(code, f"{source} {wrong}: {hint}") from None
    if not isinstance(found, dict):
        raise CniError(code, f"{source} holds {_kind(found)}, not a JSON object: {hint}")
    return found


def _parse_leniently(data: bytes) -> Any:
    """The slow way, for texts with broken characters or huge numbers. Raises ValueError for what is no JSON."""
    if not data.strip():
        raise ValueError("is empty")
    try:
        text = data.decode(errors="replace")
        found = json.loads(text, parse_constant=_refuse_constant, parse_int=_integer)
        return _without_surrogates(found)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as wrong:
        raise ValueError(f"is not JSON ({wrong})") from None


def _integer(digits: str) -> int | float:
    """A number too long for Python is infinite: right for keys that nobody reads, and refused where one is."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else float("inf")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return value


def _kind(value: Any) -> str:
    return {type(None): "null", bool: "a boolean", str: "a string", list: "a list"}.get(type(value), "a number")


def folded(value: dict[str, Any]) -> dict[str, Any]:
    """The object with its keys in lower case (this level alone); of equal keys the last wins."""
    return {key.lower(): one for key, one in value.items()}


def dump(value: Any) -> bytes:
    """`value` as JSON; characters that cannot be written become `?`."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeError, RecursionError):
        return json.dumps(value).encode()
