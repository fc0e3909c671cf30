"""GC: remove the attachments of a network that the runtime no longer knows."""

from __future__ import annotations

from podwire.attachments.identity import Attachment, alias_network, network_prefix, parse_alias
from podwire.cni.errors import INVALID_CONFIGURATION, KERNEL_REFUSED, CniError
from podwire.ipam import delegate
from podwire.netlink import read
from podwire.netlink.link_deleter import delete_group
from podwire.nft.library import NftablesError
from podwire.plugin import capabilities
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call

GROUP = 0x70770000
"""Link groups of mass deletes begin here. Two networks that share one are no harm: what is in it is to go."""


def collect(call: Call, host: Host) -> None:
    """Remove what is not in `cni.dev/valid-attachments`; goes on past errors and raises CniError for them all.

    An absent list is an error, and nothing is removed: it would mean everything.
    """
    valid = call.config.attachments.valid
    if valid is None:
        raise CniError(
            INVALID_CONFIGURATION,
            "GC needs cni.dev/valid-attachments, the list of attachments to keep: nothing was removed",
        )
    network = call.config.name
    keep = {Attachment(network, container_id, ifname).device for container_id, ifname in valid}
    failures = []
    try:
        stale = [name for name in attached(host, network) if name not in keep]
        delete_group(host.socket, stale, GROUP | int.from_bytes(network_prefix(network).encode()[-2:], "big"))
    except OSError as refused:
        failures.append(f"the kernel refused to delete stale devices of network {network}: {refused.strerror}")
    try:
        capabilities.sweep(host)
    except (NftablesError, OSError) as refused:
        failures.append(f"what attachments left behind cannot be removed: {refused}")
    if call.config.ipam_type:
        try:
            delegate.run(call, "GC")
        except CniError as refused:
            failures.append(refused.message)
    if failures:
        raise CniError(KERNEL_REFUSED, "; ".join(failures))


def attached(host: Host, network: str) -> list[str]:
    """The devices of a network's attachments, by alias; one that died before it got its alias, by its name."""
    prefix = network_prefix(network)
    found = []
    for link in read.links(host.socket):
        if not link.name.startswith(prefix) or link.kind != "veth":
            continue
        owner = parse_alias(link.alias)
        if not link.alias or (owner and owner.network == alias_network(network)):
            found.append(link.name)
    return found
