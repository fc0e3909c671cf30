# SPDX-License-Identifier: Apache-2.0
"""GC: remove the attachments of a network that the runtime no longer has."""

from __future__ import annotations

from podwire.attachments.identity import Attachment, alias_field, network_prefix, parse_alias
from podwire.bandwidth import egress
from podwire.cni.errors import KERNEL_REFUSED, CniError, invalid
from podwire.hostports import table as hostports
from podwire.netlink import read
from podwire.netlink.host import Host
from podwire.netlink.link_deleter import delete_group
from podwire.nft.library import NftablesError
from podwire.plugin.context import Invocation

# Link groups of mass deletes begin here. If two networks share a group, no harm is done: all in it is deleted.
GROUP = 0x70770000


def collect(invocation: Invocation) -> None:
    """Remove what is not in `cni.dev/valid-attachments`; continues after errors and raises one CniError for all."""
    host, valid = invocation.host, invocation.config.valid_attachments
    if valid is None:
        raise invalid("GC needs cni.dev/valid-attachments, the list of attachments to keep: nothing was removed")
    network = invocation.config.name
    keep = {Attachment(network, container_id, ifname).device for container_id, ifname in valid}
    failures = []
    try:
        stale = [name for name in attached(host, network) if name not in keep]
        delete_group(host.socket, stale, GROUP | int.from_bytes(network_prefix(network).encode()[-2:], "big"))
    except OSError as refused:
        failures.append(f"the kernel refused to delete stale devices of network {network}: {refused.strerror}")
    try:
        egress.delete_orphans(host)
        hostports.sync(host, invocation.state.firewall)
    except (NftablesError, OSError) as refused:
        failures.append(f"what attachments left behind cannot be removed: {refused}")
    if plugin := invocation.ipam_plugin:
        try:
            plugin.run("GC")
        except CniError as refused:
            failures.append(refused.message)
    if failures:
        raise CniError(KERNEL_REFUSED, "; ".join(failures))


def attached(host: Host, network: str) -> list[str]:
    """The devices of a network's attachments, by alias; a device without alias (its ADD ended early) by its name."""
    prefix = network_prefix(network)
    found = []
    for link in read.links(host.socket):
        if link.name.startswith(prefix) and link.kind == "veth":
            owner = parse_alias(link.alias)
            if not link.alias or (owner and owner.network == alias_field(network)):
                found.append(link.name)
    return found
