# SPDX-License-Identifier: Apache-2.0
"""Egress devices of attachments (`pi…`, kind ifb). The kernel does not delete them with the veth, so podwire does."""

from __future__ import annotations

import errno

from podwire.attachments.identity import DEVICE_LETTERS, EGRESS_PREFIX, device_of_egress, egress_device, parse_alias
from podwire.netlink import read
from podwire.netlink.host import Host
from podwire.netlink.socket import Netlink, NetlinkError

KIND = "ifb"


def is_egress(link: read.Link) -> bool:
    """Is it an attachment's egress device? One without alias is known by its name: its ADD ended too early."""
    matches = link.kind == KIND and link.name.startswith(EGRESS_PREFIX) and len(link.name) == DEVICE_LETTERS
    return matches and (not link.alias or parse_alias(link.alias) is not None)


def exists(socket: Netlink, name: str) -> bool:
    """Is there such a device? Raises NetlinkError."""
    try:
        return bool(socket.index(name))
    except NetlinkError as refused:
        if refused.errno == errno.ENODEV:
            return False
        raise


def delete_of(host: Host, device: str) -> None:
    """Delete the egress device of an attachment's device, if it has one. Raises NetlinkError."""
    name = egress_device(device)
    if exists(host.socket, name):
        host.delete(name)


def orphans(socket: Netlink) -> list[str]:
    """The egress devices whose attachment no longer exists. Raises NetlinkError."""
    own = [link.name for link in read.links(socket) if is_egress(link)]
    return [name for name in own if not exists(socket, device_of_egress(name))]


def delete_orphans(host: Host) -> None:
    """Delete the egress devices whose attachment no longer exists. Raises NetlinkError."""
    for name in orphans(host.socket):
        host.delete(name)
