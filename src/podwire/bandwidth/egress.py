"""Egress devices of attachments (`pi…`, kind ifb). The kernel does not delete them with the veth, so podwire does."""

from __future__ import annotations

import errno
from collections.abc import Iterable

from podwire.attachments.identity import DEVICE_LETTERS, EGRESS_PREFIX, device_of_egress, egress_device, parse_alias
from podwire.netlink import read
from podwire.netlink.host import Host
from podwire.netlink.read import Link
from podwire.netlink.socket import Netlink, NetlinkError

KIND = "ifb"


def is_egress(link: Link) -> bool:
    """Is it an attachment's egress device? One without alias is known by its name: its ADD ended too early."""
    matches = link.kind == KIND and link.name.startswith(EGRESS_PREFIX) and len(link.name) == DEVICE_LETTERS
    return matches and (not link.alias or parse_alias(link.alias) is not None)


def exists(socket: Netlink, name: str) -> bool:
    """Is there a device of that name? Raises NetlinkError."""
    try:
        return bool(socket.index(name))
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return False
        raise


def delete_of(host: Host, device: str) -> bool:
    """Delete the egress device of an attachment's device; False if it has none. Raises NetlinkError."""
    name = egress_device(device)
    return exists(host.socket, name) and host.delete(name)


def orphans(socket: Netlink, links: Iterable[Link] | None = None) -> list[str]:
    """The egress devices whose attachment no longer exists. Raises NetlinkError."""
    found = read.links(socket) if links is None else links
    return [link.name for link in found if is_egress(link) and not exists(socket, device_of_egress(link.name))]


def delete_orphans(host: Host, links: Iterable[Link] | None = None) -> list[str]:
    """Delete the egress devices whose attachment no longer exists; their names. Raises NetlinkError."""
    return [name for name in orphans(host.socket, links) if host.delete(name)]
