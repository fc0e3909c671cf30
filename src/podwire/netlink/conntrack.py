# SPDX-License-Identifier: Apache-2.0
"""Deletes the conntrack entries of UDP flows to a host port, so that its next packet passes the NAT rules again.

An entry from before the port was mapped, or to a pod that is deleted, otherwise lives as long as its sender sends.
conntrack -D -p udp --orig-dst ADDRESS --orig-port-dst PORT
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from podwire.ip import Address
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink.socket import Netlink, NetlinkError

KINDS = (c.IPCTNL_MSG_CT_NEW, c.IPCTNL_MSG_CT_GET, c.IPCTNL_MSG_CT_DELETE)
CT_NEW, CT_GET, CT_DELETE = (c.NFNL_SUBSYS_CTNETLINK << 8 | kind for kind in KINDS)
DESTINATION = {4: c.CTA_IP_V4_DST, 6: c.CTA_IP_V6_DST}
WITHOUT_CONNTRACK = (errno.EOPNOTSUPP, errno.ENOENT, errno.EPROTONOSUPPORT, errno.EINVAL)
UDP = b"\x11"


def delete_udp_flows(socket: Netlink, version: int, port: int, addresses: Iterable[Address]) -> int:
    """Delete the UDP flows whose original destination is `port` of one of `addresses`; returns their number.

    `socket` is a netfilter socket. Without connection tracking in the kernel there are no flows. Raises NetlinkError.
    """
    local = {address.packed for address in addresses}
    body = nl.NFGENMSG.pack(nl.family(version), 0, 0)
    port_number = nl.attribute(c.CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
    wanted = nl.nested(c.CTA_TUPLE_PROTO, nl.attribute(c.CTA_PROTO_NUM, UDP), port_number)
    # Kernels before 5.8 ignore the filter and dump all flows, so each flow is checked.
    flags = nl.u32(c.CTA_FILTER_ORIG_FLAGS, c.CTA_FILTER_F_CTA_PROTO_NUM | c.CTA_FILTER_F_CTA_PROTO_DST_PORT)
    only = nl.nested(c.CTA_TUPLE_ORIG, wanted) + nl.nested(c.CTA_FILTER, flags)
    count = 0
    for kind, payload in _flows(socket, body, only):
        found = nl.attributes(payload, nl.NFGENMSG.size)
        tuple_ = found.get(c.CTA_TUPLE_ORIG, b"")
        if kind != CT_NEW or not _is_to(tuple_, version, port, local):
            continue
        which = nl.nested(c.CTA_TUPLE_ORIG, tuple_) + nl.attribute(c.CTA_ID, found[c.CTA_ID])
        try:
            socket.do(nl.message(CT_DELETE, 0, body, which))
            count += 1
        except NetlinkError as refused:
            if refused.errno != errno.ENOENT:  # it has expired by now
                raise
    return count


def _flows(socket: Netlink, body: bytes, only: bytes) -> list[tuple[int, memoryview]]:
    for filters in ((only,), ()):  # a kernel that does not accept the filter answers EINVAL
        try:
            return socket.get(nl.message(CT_GET, c.NLM_F_DUMP, body, *filters))
        except NetlinkError as refused:
            if refused.errno not in WITHOUT_CONNTRACK:
                raise
            if refused.errno != errno.EINVAL:
                break
    return []


def _is_to(tuple_: bytes, version: int, port: int, local: set[bytes]) -> bool:
    parts = nl.attributes(tuple_)
    destination = nl.attributes(parts.get(c.CTA_TUPLE_IP, b"")).get(DESTINATION[version])
    protocol = nl.attributes(parts.get(c.CTA_TUPLE_PROTO, b""))
    to_port = protocol.get(c.CTA_PROTO_NUM) == UDP and protocol.get(c.CTA_PROTO_DST_PORT) == port.to_bytes(2, "big")
    return to_port and destination in local
