"""All attachments of this host, read from the kernel: devices, their altnames and their aliases."""

from __future__ import annotations

from msgspec import Struct

from podwire.attachments.altnames import is_address
from podwire.attachments.identity import PREFIX, parse_alias
from podwire.netlink.read import links
from podwire.netlink.socket import Netlink
from podwire.text import shown


class ShownAttachment(Struct, frozen=True):
    """One attachment, safe to print; `since` is the time of ADD, UTC in ISO 8601."""

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
    for link in sorted(links(socket), key=lambda link: link.index):
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
    found.sort(key=lambda attachment: attachment.since)  # indexes grow within a process, the next starts anywhere
    return found
