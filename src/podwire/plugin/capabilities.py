"""Host ports and rates in ADD, DEL, CHECK and GC. Calls without them come no further than the first lines here.

What only they need is loaded when it is needed: a process for one call waits for its imports.
"""

from __future__ import annotations

import errno

from podwire.attachments.identity import egress_device, parse_alias
from podwire.cni.errors import FIREWALL, HOST_PORT_TAKEN, CniError, refusal_of_kernel
from podwire.ip import Address
from podwire.netlink import read
from podwire.netlink.apply import Indexes, KernelRefusedError, apply
from podwire.netlink.operations import AddAltname, DeleteLink
from podwire.nft.library import NftablesError, table_exists
from podwire.nft.names import PORTS_TABLE
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call
from podwire.text import shown


def claim(call: Call, host: Host, index_of: Indexes, addresses: list[Address]) -> None:
    """Take the host ports that the runtime asks for; raises CniError 7 or 108, KernelRefusedError."""
    if not call.config.port_mappings:
        return
    from podwire.hostports import altnames as ports  # noqa: PLC0415

    device = call.attachment.device
    wanted = ports.claims(call.config.port_mappings, addresses)
    taken = apply(host.socket, [AddAltname(device, name) for name in ports.altnames(wanted)], index_of)
    for one in taken:
        assert isinstance(one, AddAltname)
        link = read.link(host.socket, one.altname)
        raise _in_use(one.altname, link)
    host.end_phase("ports")


def publish(call: Call, host: Host) -> None:
    """Lead the host ports to the pod, and remove what leads to pods that are gone.

    Raises CniError 108, NftablesError, NetlinkError, OSError.
    """
    if not call.config.port_mappings:
        return
    from podwire.hostports import sync as ports  # noqa: PLC0415

    try:
        ports.sync(host, call.attachment.device)
    except ports.PortTakenError as taken:
        raise _in_use(taken.port.altname, taken.link) from None
    host.end_phase("firewall")


def _in_use(name: str, link: read.Link | None) -> CniError:
    owner = parse_alias(link.alias) if link else None
    whose = "another device"
    if link:
        whose = f"device {link.name}"
    if owner:
        whose = f"{shown(owner.pod) + ', ' if owner.pod else ''}container {shown(owner.container_id, 64)}"
    return CniError(HOST_PORT_TAKEN, f"host port {name} is in use by {whose}: free it or choose another hostPort")


def shape(call: Call, host: Host, index_of: Indexes, alias: str) -> None:
    """Limit the pod's rates; `alias` is that of its device. Raises KernelRefusedError, NetlinkError."""
    limits = call.config.bandwidth
    if limits is None:
        return
    from podwire.bandwidth import egress  # noqa: PLC0415
    from podwire.bandwidth import operations as bandwidth  # noqa: PLC0415
    from podwire.netlink.tc_operations import AddIfb  # noqa: PLC0415

    device, mtu = call.attachment.device, call.config.pod_mtu
    if limits.ingress:
        apply(host.socket, bandwidth.ingress_operations(device, limits.ingress, mtu), index_of)
    if limits.egress:
        egress.delete_orphans(host)
        through = AddIfb(egress_device(device), mtu)
        try:
            apply(host.socket, [through], index_of)
        except KernelRefusedError as refused:
            if refused.number != errno.EEXIST:
                raise
            # Of this very attachment's earlier life: its veth was gone, so it is nobody's.
            apply(host.socket, [DeleteLink(through.name)], index_of)
            apply(host.socket, [through], index_of)
        addrgenmode_none = host.shared.ipv6
        apply(
            host.socket,
            bandwidth.egress_operations(device, limits.egress, mtu, alias, addrgenmode_none=addrgenmode_none),
            index_of,
        )
    host.end_phase("limits")


def has_ports(call: Call, host: Host) -> bool:
    """May the attachment have host ports? Asked before its device is deleted. Raises NetlinkError.

    One message to the kernel where nobody has any; a device that is gone already may have had some.
    """
    if call.config.port_mappings:
        return True
    if not table_exists(host.netfilter, PORTS_TABLE):
        return False
    from podwire.hostports import sync as ports  # noqa: PLC0415

    link = read.link(host.socket, call.attachment.device)
    return link is None or bool(ports.claimed(link))


def delete_egress(call: Call, host: Host) -> None:
    """Delete the attachment's egress device, if it has one. Raises NetlinkError."""
    from podwire.bandwidth.egress import delete_of  # noqa: PLC0415

    delete_of(host, call.attachment.device)


def withdraw(host: Host) -> None:
    """Remove what leads to pods that are gone. Raises CniError 11, 100 or 106."""
    from podwire.hostports import sync as ports  # noqa: PLC0415

    try:
        ports.sync(host)
    except NftablesError as refused:
        raise CniError(FIREWALL, f"host ports cannot be withdrawn: {refused}") from None
    except OSError as refused:
        raise refusal_of_kernel("host ports cannot be withdrawn", refused) from None


def sweep(host: Host) -> tuple[list[str], frozenset[str]]:
    """Remove the egress devices and host ports of attachments that are gone, and restore the ports of the others.

    What was done, one line each, and which devices have host ports. Raises NftablesError, OSError.
    """
    from podwire.bandwidth import egress  # noqa: PLC0415
    from podwire.hostports import sync as ports  # noqa: PLC0415

    done = [f"ip link delete {name}" for name in egress.delete_orphans(host)]
    synced = ports.sync(host)
    return done + [f"nft {line}" for line in synced.changes], synced.holders


def undo(call: Call, host: Host) -> None:
    """After a failed ADD whose device is deleted: nothing of the rest may stay. Raises CniError, NetlinkError."""
    if call.config.bandwidth:
        delete_egress(call, host)
    if call.config.port_mappings:
        withdraw(host)


def check(call: Call, host: Host, link: read.Link, addresses: list[Address]) -> str:
    """What of the host ports and rates differs from what the runtime asks for; "" if nothing does."""
    if call.config.port_mappings:
        from podwire.hostports import altnames as ports  # noqa: PLC0415
        from podwire.hostports.sync import in_place  # noqa: PLC0415

        there = ports.parse_altnames(link.altnames)
        for port, inside in ports.claims(call.config.port_mappings, addresses).items():
            if there.get(port) != inside:
                return f"host port {port.altname} does not belong to {link.name}"
        if not in_place(host, link):
            return f"the firewall does not lead the host ports of {link.name} to the container"
    limits = call.config.bandwidth
    if limits is None:
        return ""
    from podwire.netlink.tc import read_rate_bytes  # noqa: PLC0415

    for name, rate in ((link.name, limits.ingress), (egress_device(link.name), limits.egress)):
        device = read.link(host.socket, name) if rate else None
        if rate and (device is None or read_rate_bytes(host.socket, device.index) != rate.rate_bits // 8):
            return f"device {name} does not limit the container to {rate.rate_bits} bits per second"
    return ""
