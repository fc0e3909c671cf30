# SPDX-License-Identifier: Apache-2.0
"""JSON as Go's runtimes read it: keys match in any case, and of equal keys the last one counts.

It uses the scanner and the encoder of `json` without that module, which loads `re` and `enum` (5 ms).
"""

from __future__ import annotations

from _json import encode_basestring, make_encoder, make_scanner

from podwire.cni.errors import UNDECODABLE, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` costs 7 ms
    from typing import Any, NoReturn

    Json = Any
    JsonObject = dict[str, Any]
else:
    Json = JsonObject = object

LONGEST_INTEGER = 4000
DEEPEST = 900
"""Arrays and objects within each other. Python 3.13 itself allows more than fit on the stack of an agent's thread."""
SPACE = " \t\n\r"
HINT = "the runtime must write one JSON object, the network configuration, to standard input"


def parse(data: bytes, source: str = "standard input", code: int = UNDECODABLE, hint: str = HINT) -> JsonObject:
    """The object in `data` (RFC 8259); raises CniError `code` that names the `source`.

    Text that is not UTF-8 and lone surrogates become U+FFFD, as in Go; NaN, a byte order mark, UTF-16 and
    anything behind the object are refused.
    """
    try:
        if _is_too_deep(data):
            raise RecursionError
        found = _value(data.decode(errors="replace"))
    except RecursionError:
        raise CniError(code, f"{source} is nested too deeply: {hint}") from None
    except ValueError as wrong:
        raise CniError(code, f"{source} {wrong}: {hint}") from None
    if not isinstance(found, dict):
        raise CniError(code, f"{source} holds {_kind(found)}, not a JSON object: {hint}")
    return found


def _is_too_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False
    outside_strings = b"".join(data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    depth = 0
    for bracket in outside_strings.translate(None, delete=bytes({*range(256)} - {*b"[]{}"})):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def _value(text: str) -> Json:
    """The value that `text` holds; raises ValueError, RecursionError."""
    start = len(text) - len(text.lstrip(SPACE))
    if start == len(text):
        raise ValueError("is empty")
    try:
        found, end = _scanned(text, start)
    except StopIteration as stopped:
        raise ValueError(f"is not JSON (no value at character {stopped.value})") from None
    except ValueError as wrong:
        raise ValueError(f"is not JSON ({wrong})") from None
    if text[end:].strip(SPACE):
        raise ValueError(f"is not JSON (something follows at character {end})")
    return _clean(found) if "\\u" in text else found


def _scanned(text: str, start: int) -> tuple[Json, int]:
    try:
        return _scan(text, start)
    except SystemError:  # the scanner takes its error class from `json`
        import json  # noqa: F401, PLC0415  5 ms, only for an invalid document

        return _scan(text, start)


def _integer(digits: str) -> int | float:
    """A number too long for Python becomes infinite: it is ignored in unknown keys and refused in known ones."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else float("inf")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


class _Rules:
    """The attributes that the scanner reads, as `json.JSONDecoder` has them."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = staticmethod(_integer)
    parse_constant = staticmethod(_refuse_constant)


def _refuse_type(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_scan = make_scanner(_Rules())  # type: ignore[arg-type]  # anything with these attributes will do
_encode = make_encoder(None, _refuse_type, encode_basestring, None, ":", ",", False, False, False)


def _clean(value: Json) -> Json:
    """`value` with lone surrogates as U+FFFD and infinite numbers as null, so that it can be written."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value


def _kind(value: Json) -> str:
    return {type(None): "null", bool: "a boolean", str: "a string", list: "a list"}.get(type(value), "a number")


def folded(value: JsonObject) -> JsonObject:
    """The object with its keys in lower case (this level alone); of equal keys the last one counts."""
    return {key.lower(): item for key, item in value.items()}


def quoted(text: str) -> bytes:
    """A JSON string without its quotes."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text.encode()
    return dump(text)[1:-1]


def dump(value: Json) -> bytes:
    """`value` as JSON, without spaces."""
    try:
        return "".join(_encode(value, 0)).encode()
    except ValueError:  # also UnicodeError
        return "".join(_encode(_clean(value), 0)).encode()
