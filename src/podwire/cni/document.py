"""JSON from outside as Go's runtimes read it: keys without regard to case, the last of several wins."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import msgspec

from podwire.cni.errors import UNDECODABLE, CniError

HINT = "the runtime must write one JSON object, the network configuration, to standard input"


def parse(data: bytes) -> dict[str, Any]:
    """The object in `data` (RFC 8259); raises CniError 6.

    Text that is not UTF-8 and lone surrogates become U+FFFD, as in Go; NaN, a byte order mark, UTF-16 and
    anything behind the object are refused.
    """
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        found = _parse_leniently(data)
    if not isinstance(found, dict):
        raise CniError(UNDECODABLE, f"standard input holds {_kind(found)}, not a JSON object: {HINT}")
    return found


def _parse_leniently(data: bytes) -> Any:
    """The slow way, for texts with broken characters; what is no JSON fails here for good."""
    if not data.strip():
        raise CniError(UNDECODABLE, f"standard input is empty: {HINT}")
    try:
        found = json.loads(data.decode(errors="replace"), parse_constant=_refuse_constant)
        return _without_surrogates(found)
    except RecursionError:
        raise CniError(UNDECODABLE, f"standard input is nested too deeply: {HINT}") from None
    except ValueError as wrong:
        raise CniError(UNDECODABLE, f"standard input is not JSON ({wrong}): {HINT}") from None


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
