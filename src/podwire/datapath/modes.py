# SPDX-License-Identifier: Apache-2.0
"""The registry of datapaths by mode name, and the datapath of a network configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from podwire.cni import fields as take
from podwire.cni.document import JsonObject
from podwire.cni.errors import invalid
from podwire.cni.request import why_not_an_interface_name
from podwire.datapath.bridge import Bridge
from podwire.datapath.protocol import Datapath
from podwire.datapath.routed import Routed
from podwire.record import Record
from podwire.text import shown

MTU_LIMITS = (68, 65535)
DEFAULT_MODE = "bridge"


class Options(Record):
    mtu: int | None
    bridge: str
    hairpin: bool
    promiscuous: bool


DATAPATHS: Mapping[str, Callable[[Options], Datapath]] = {
    "bridge": lambda options: Bridge(options.mtu, options.bridge, options.hairpin, options.promiscuous),
    "routed": lambda options: Routed(options.mtu),
}


def parse_datapath(raw: JsonObject) -> Datapath:
    """The datapath of a network configuration with lower-case keys. Raises CniError 6 or 7."""
    mode = take.string(raw, "mode") or DEFAULT_MODE
    if mode not in DATAPATHS:
        raise invalid(f"mode={shown(mode)} is unknown: use {' or '.join(DATAPATHS)}")
    bridge = take.string(raw, "bridge") or "cni0"
    if reason := why_not_an_interface_name(bridge):
        raise invalid(f"bridge={shown(bridge)} is not a device name: it {reason}")
    mtu = take.integer(raw, "mtu")
    if mtu and not MTU_LIMITS[0] <= mtu <= MTU_LIMITS[1]:
        raise invalid(f"mtu={mtu} is not between {MTU_LIMITS[0]} and {MTU_LIMITS[1]}")
    return DATAPATHS[mode](
        Options(mtu or None, bridge, take.boolean(raw, "hairpinMode"), take.boolean(raw, "promiscMode"))
    )
