"""The host ports that a runtime asks for: `portMappings` of `runtimeConfig`, typed and checked."""

from __future__ import annotations

from ipaddress import ip_address

from podwire.cni import fields as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import INVALID_CONFIGURATION, CniError
from podwire.ip import Address
from podwire.record import Record
from podwire.text import shown

PROTOCOLS = ("tcp", "udp", "sctp")


LARGEST_PORT = 65535


class PortMapping(Record):
    """A port of the host that leads to one of the pod; without `host_ip`, on every address of the host."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: Address | None = None


def port_mappings(runtime: JsonObject) -> tuple[PortMapping, ...]:
    """`runtimeConfig.portMappings`; an entry with hostPort 0 maps nothing. Raises CniError 6 or 7."""
    found: dict[PortMapping, None] = {}
    for one in take.objects(runtime, "portMappings"):
        host_port = _port(one, "hostPort", smallest=0)
        mapping = PortMapping(
            protocol=(take.string(one, "protocol") or PROTOCOLS[0]).lower(),
            host_port=host_port,
            container_port=_port(one, "containerPort", smallest=1),
            host_ip=_host_ip(take.string(one, "hostIP")),
        )
        if mapping.protocol not in PROTOCOLS:
            raise CniError(
                INVALID_CONFIGURATION,
                f"portMappings: protocol={shown(mapping.protocol)} is unknown: use one of {', '.join(PROTOCOLS)}",
            )
        if host_port:
            found[mapping] = None
    return tuple(found)


def _port(values: JsonObject, key: str, *, smallest: int) -> int:
    port = take.integer(values, key)
    if not smallest <= port <= LARGEST_PORT:
        raise CniError(
            INVALID_CONFIGURATION, f"portMappings: {key}={port} is not between {smallest} and {LARGEST_PORT}"
        )
    return port


def _host_ip(text: str) -> Address | None:
    if not text:
        return None
    try:
        if "%" in text:
            raise ValueError
        return ip_address(text)
    except ValueError:
        raise CniError(INVALID_CONFIGURATION, f"portMappings: hostIP={shown(text)} is not an IP address") from None
