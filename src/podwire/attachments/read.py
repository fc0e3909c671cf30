"""The attachments of this host, as the kernel knows them: devices, their altnames and their aliases."""

from __future__ import annotations

from msgspec import Struct

from podwire.attachments.altnames import is_address
from podwire.attachments.identity import PREFIX, parse_alias
from podwire.netlink.read import links
from podwire.netlink.socket import Netlink
from podwire.text import shown


class ShownAttachment(Struct, frozen=True):
    """One attachment for people and scripts; `since` is the time of ADD, UTC in ISO 8601."""

    addresses: list[str]
    pod: str
    network: str
    container_id: str
    ifname: str
    device: str
    up: bool
    since: str


def read_attachments(socket: Netlink) -> list[ShownAttachment]:
    """All attachments, oldest first."""
    found = []
    for link in sorted(links(socket), key=lambda one: one.index):
        owner = parse_alias(link.alias)
        if owner is None or link.kind != "veth" or not link.name.startswith(PREFIX):
            continue
        found.append(
            ShownAttachment(
                addresses=[name for name in link.altnames if is_address(name)],
                pod=shown(owner.pod, 300),
                network=shown(owner.network, 120),
                container_id=shown(owner.container_id, 120),
                ifname=shown(owner.ifname),
                device=link.name,
                up=link.up,
                since=shown(owner.since),
            )
        )
    found.sort(key=lambda one: one.since)  # indexes of one process only grow, but the next one begins anywhere
    return found
