"""What a runtime asks for by capability: host ports (`portMappings`) and rates (`bandwidth`) of `runtimeConfig`."""

from __future__ import annotations

from ipaddress import ip_address

from podwire.cni import values as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import INVALID_CONFIGURATION, CniError, shown
from podwire.plan.operations import Address
from podwire.plan.record import Record

PROTOCOLS = ("tcp", "udp", "sctp")
LARGEST_PORT = 65535
LARGEST_RATE_BITS = 2**63 - 1
LARGEST_BURST_BITS = (2**32 - 1) * 8


class PortMapping(Record):
    """A port of the host that leads to one of the pod; without `host_ip`, on every address of the host."""

    protocol: str
    host_port: int
    container_port: int
    host_ip: Address | None = None


class Rate(Record):
    """Bits per second, and the bits that may come at once before they are counted (0: chosen by podwire)."""

    rate_bits: int
    burst_bits: int


class Bandwidth(Record):
    """Limits as the pod sees them: `ingress` is what comes to it, `egress` what it sends."""

    ingress: Rate | None = None
    egress: Rate | None = None


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


def bandwidth(runtime: JsonObject) -> Bandwidth | None:
    """`runtimeConfig.bandwidth`, None where nothing is limited. Raises CniError 6 or 7."""
    raw = take.table(runtime, "bandwidth")
    ingress, egress = _rate(raw, "ingress"), _rate(raw, "egress")
    return Bandwidth(ingress, egress) if ingress or egress else None


def _rate(raw: JsonObject, side: str) -> Rate | None:
    rate, burst = take.integer(raw, f"{side}Rate"), take.integer(raw, f"{side}Burst")
    for key, value, largest in (("Rate", rate, LARGEST_RATE_BITS), ("Burst", burst, LARGEST_BURST_BITS)):
        if not 0 <= value <= largest:
            raise CniError(INVALID_CONFIGURATION, f"bandwidth: {side}{key}={value} is not between 0 and {largest}")
    if burst and not rate:
        raise CniError(INVALID_CONFIGURATION, f"bandwidth: {side}Burst={burst} needs {side}Rate: set the rate as well")
    if 0 < rate < 8:
        raise CniError(INVALID_CONFIGURATION, f"bandwidth: {side}Rate={rate} is less than a byte a second")
    return Rate(rate, burst) if rate else None
