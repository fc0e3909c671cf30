# SPDX-License-Identifier: Apache-2.0
"""All attachments of this host, read from the kernel: devices, their altnames and their aliases."""

from __future__ import annotations

from msgspec import Struct

from podwire.attachments.altnames import leased_addresses
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
    found = []
    for link in sorted(links(socket), key=lambda link: link.index):
        owner = parse_alias(link.alias)
        if owner is None or link.kind != "veth" or not link.name.startswith(PREFIX):
            continue
        addresses = [str(address) for address in leased_addresses(link.altnames)]
        names = shown(owner.pod, 300), shown(owner.network, 120), shown(owner.container_id, 120), shown(owner.ifname)
        found.append(ShownAttachment(addresses, *names, link.name, link.up, shown(owner.since)))
    found.sort(key=lambda attachment: attachment.since)  # indexes grow within a process, the next starts anywhere
    return found
