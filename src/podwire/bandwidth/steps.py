"""What ADD and CHECK do about the limits of an attachment's rates. DEL deletes the egress device (`egress.py`)."""

from __future__ import annotations

import errno

from podwire.attachments.identity import egress_device
from podwire.bandwidth import egress
from podwire.bandwidth.config import Bandwidth
from podwire.bandwidth.operations import egress_operations, ingress_operations
from podwire.netlink import read
from podwire.netlink.apply import Indexes, KernelRefusedError, apply
from podwire.netlink.host import Host
from podwire.netlink.operations import DeleteLink
from podwire.netlink.read import Link
from podwire.netlink.tc import read_rate_bytes
from podwire.netlink.tc_operations import AddIfb


def limit(host: Host, device: str, limits: Bandwidth, mtu: int, alias: str, index_of: Indexes) -> None:
    """ADD: limit the rates of an attachment's device, whose alias is `alias`.

    Raises KernelRefusedError, NetlinkError.
    """
    if limits.ingress:
        apply(host.socket, ingress_operations(device, limits.ingress, mtu), index_of)
    if limits.egress:
        egress.delete_orphans(host)
        ifb = AddIfb(egress_device(device), mtu)
        try:
            apply(host.socket, [ifb], index_of)
        except KernelRefusedError as refused:
            if refused.number != errno.EEXIST:
                raise
            # It belongs to an earlier ADD of this attachment, whose veth was deleted: nothing uses it.
            apply(host.socket, [DeleteLink(ifb.name)], index_of)
            apply(host.socket, [ifb], index_of)
        none = host.namespace.ipv6
        apply(host.socket, egress_operations(device, limits.egress, mtu, alias, addrgenmode_none=none), index_of)


def difference(host: Host, link: Link, limits: Bandwidth) -> str:
    """CHECK: the first difference between the limits and the kernel; "" if there is none."""
    for name, rate in ((link.name, limits.ingress), (egress_device(link.name), limits.egress)):
        device = read.link(host.socket, name) if rate else None
        if rate and (device is None or read_rate_bytes(host.socket, device.index) != rate.rate_bits // 8):
            return f"device {name} does not limit the container to {rate.rate_bits} bits per second"
    return ""
