# SPDX-License-Identifier: Apache-2.0
"""What the specification allows a plugin to print: complaints about a result, an error, a silent success."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from tests.support.plugin import Outcome

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
OLD_VERSIONS = ("0.1.0", "0.2.0")
VERSIONED_IPS = ("0.3.0", "0.3.1", "0.4.0")
SPECIFIED_CODES = {*range(1, 9), 11, 50, 51}
FIRST_OWN_CODE = 100
MESSAGE_LIMIT_BYTES = 500

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.IGNORECASE)
_ROUTE_EXTRAS = {"mtu", "advmss", "priority", "table", "scope"}
_INTERFACE_EXTRAS = {"mtu", "socketPath", "pciID"}

Document = dict[str, Any]


def at_least(version: str, floor: str) -> bool:
    """Whether a CNI version is `floor` or newer."""
    return VERSIONS.index(version) >= VERSIONS.index(floor)


def _is_cidr(text: Any) -> bool:
    try:
        return "/" in text and bool(ipaddress.ip_interface(text))
    except (ValueError, TypeError):
        return False


def _is_address(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _unknown(where: str, value: Document, known: set[str]) -> Iterator[str]:
    if extra := set(value) - known:
        yield f"{where} has keys that its version does not know: {sorted(extra)}"


def _route_complaints(where: str, routes: Any, version: str) -> Iterator[str]:
    for route in routes or []:
        extras = _ROUTE_EXTRAS if at_least(version, "1.1.0") else set()
        yield from _unknown(where, route, {"dst", "gw", *extras})
        if not _is_cidr(route.get("dst")):
            yield f"{where}: dst is not a CIDR: {route}"
        if "gw" in route and not _is_address(route["gw"]):
            yield f"{where}: gw is not an address: {route}"


def _old_complaints(document: Document, version: str) -> Iterator[str]:
    yield from _unknown("the result", document, {"cniVersion", "ip4", "ip6", "dns"})
    if not document.get("ip4") and not document.get("ip6"):
        yield "neither ip4 nor ip6"
    for key, family in (("ip4", 4), ("ip6", 6)):
        block = document.get(key)
        if block is None:
            continue
        yield from _unknown(key, block, {"ip", "gateway", "routes"})
        if not _is_cidr(block.get("ip")) or ipaddress.ip_interface(block["ip"]).version != family:
            yield f"{key}.ip is not a CIDR of its family: {block}"
        if "gateway" in block and not _is_address(block["gateway"]):
            yield f"{key}.gateway is not an address: {block}"
        yield from _route_complaints(f"{key}.routes", block.get("routes"), version)


def _interface_complaints(document: Document, version: str) -> Iterator[str]:
    extras = _INTERFACE_EXTRAS if at_least(version, "1.1.0") else set()
    for interface in document.get("interfaces") or []:
        yield from _unknown("interface", interface, {"name", "mac", "sandbox", *extras})
        if not interface.get("name"):
            yield f"an interface without a name: {interface}"
        if interface.get("mac") and not _MAC.fullmatch(interface["mac"]):
            yield f"mac does not parse: {interface}"


def _address_complaints(document: Document, version: str) -> Iterator[str]:
    count = len(document.get("interfaces") or [])
    for entry in document.get("ips") or []:
        yield from _unknown("ips", entry, {"address", "gateway", "interface", "version"})
        if not _is_cidr(entry.get("address")):
            yield f"address is not a CIDR: {entry}"
            continue
        if "gateway" in entry and not _is_address(entry["gateway"]):
            yield f"gateway is not an address: {entry}"
        index = entry.get("interface")
        if index is not None and (isinstance(index, bool) or not 0 <= index < count):
            yield f"interface index out of range: {entry}"
        family = str(ipaddress.ip_interface(entry["address"]).version)
        if version in VERSIONED_IPS and entry.get("version") != family:
            yield f"ips[].version is mandatory in {version}: {entry}"
        if version not in VERSIONED_IPS and "version" in entry:
            yield f"ips[].version does not exist in {version}: {entry}"


def _dns_complaints(document: Document) -> Iterator[str]:
    dns = document.get("dns", {})
    yield from _unknown("dns", dns, {"nameservers", "domain", "search", "options"})
    for key in ("nameservers", "search", "options"):
        if not all(isinstance(each, str) for each in dns.get(key) or []):
            yield f"dns.{key} is not a list of strings"


def result_complaints(document: Document, version: str) -> list[str]:
    """What is wrong with an ADD result that should be of `version`; empty when nothing is."""
    complaints = []
    if document.get("cniVersion") != version:
        complaints.append(f"cniVersion is {document.get('cniVersion')!r}, the config's is {version!r}")
    complaints += _dns_complaints(document)
    if version in OLD_VERSIONS:
        return complaints + list(_old_complaints(document, version))
    complaints += _unknown("the result", document, {"cniVersion", "interfaces", "ips", "routes", "dns"})
    complaints += _interface_complaints(document, version)
    complaints += _address_complaints(document, version)
    return complaints + list(_route_complaints("routes", document.get("routes"), version))


def _own_error_complaints(document: Document) -> Iterator[str]:
    """What podwire promises beyond the specification."""
    message = str(document.get("msg"))
    if document.get("cniVersion") not in VERSIONS:
        yield f"cniVersion is {document.get('cniVersion')!r}"
    if len(message.encode("utf-8", "replace")) >= MESSAGE_LIMIT_BYTES:
        yield f"msg has {len(message)} characters"
    if len(message.splitlines()) != 1 or not message.isprintable():
        yield f"msg is not one printable line: {message!r}"


def crash_complaints(outcome: Outcome) -> list[str]:
    """Signs of a program that fell over, whatever it was asked."""
    complaints = []
    for name, output in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        complaints += [f"{word.decode()} on {name}" for word in (b"Traceback", b"panic:") if word in output]
    if outcome.status < 0 or outcome.timed_out:
        complaints.append("did not end by itself")
    return complaints


def error_complaints(outcome: Outcome, own_rules: bool) -> list[str]:
    """What is wrong with a failure; `own_rules` adds what podwire decided."""
    complaints = crash_complaints(outcome)
    if outcome.status == 0:
        complaints.append("exit status 0")
    try:
        document = outcome.document
    except ValueError as error:
        return [*complaints, f"stdout is not one JSON object: {error}"]
    complaints += _unknown("the error", document, {"cniVersion", "code", "msg", "details"})
    code = document.get("code")
    if type(code) is not int or not (code in SPECIFIED_CODES or code >= FIRST_OWN_CODE):
        complaints.append(f"code is {code!r}")
    for key in ("msg", "details"):
        if not isinstance(document.get(key, ""), str):
            complaints.append(f"{key} is not a string")
    if not document.get("msg"):
        complaints.append("no msg")
    if own_rules:
        complaints += _own_error_complaints(document)
    return complaints


def silent_complaints(outcome: Outcome) -> list[str]:
    """What is wrong with the success of a command that has no result (all but ADD and VERSION)."""
    complaints = crash_complaints(outcome)
    if outcome.status:
        complaints.append(f"exit status {outcome.status}")
    if outcome.stdout:
        complaints.append("stdout is not empty")
    return complaints


def response_complaints(outcome: Outcome, command: str, versions: tuple[str, ...] = VERSIONS) -> list[str]:
    """What is wrong with an answer to any input at all: it must be a success or an error in due form."""
    if outcome.status:
        return error_complaints(outcome, own_rules=True)
    if command in ("ADD", "VERSION") and outcome.stdout:
        try:
            document = outcome.document
        except ValueError as error:
            return [f"stdout is not one JSON object: {error}"]
        if command == "VERSION":
            return [] if document.get("supportedVersions") else ["no supportedVersions"]
        version = str(document.get("cniVersion"))
        return result_complaints(document, version) if version in versions else [f"cniVersion {version!r}"]
    return silent_complaints(outcome)
