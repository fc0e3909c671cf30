# SPDX-License-Identifier: Apache-2.0
"""Bandwidth operations as rtnetlink messages (linux/pkt_sched.h, linux/pkt_cls.h); reads a device's rate."""

from __future__ import annotations

import struct
from collections.abc import Callable

from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import tc_operations as op
from podwire.netlink.socket import Netlink

INGRESS_HANDLE, ROOT_HANDLE = 0xFFFF0000, 0x00010000
ETH_P_ALL_BIG_ENDIAN = c.ETH_P_ALL << 8
U32_MAX = 0xFFFFFFFF

TCMSG = struct.Struct("=BxxxiIII")
RATESPEC = struct.Struct("=BBHhHI")
TBF_QOPT_REST = struct.Struct("=III")
U32_SEL = struct.Struct("=BBBxHHhhI")
U32_KEY = struct.Struct("=IIii")
MIRRED = struct.Struct("=IIiiiiI")

CREATE = c.NLM_F_CREATE | c.NLM_F_EXCL
IndexOf = Callable[[str], int]


def _add_ifb(ifb: op.AddIfb, index_of: IndexOf, pod_netns: int) -> bytes:
    attributes = nl.text(c.IFLA_IFNAME, ifb.name) + nl.u32(c.IFLA_MTU, ifb.mtu) + nl.ONE_QUEUE
    kind = nl.nested(c.IFLA_LINKINFO, nl.text(c.IFLA_INFO_KIND, "ifb"))
    return nl.message(c.RTM_NEWLINK, CREATE, nl.link_body(), attributes, kind)


def _token_bucket(tbf: op.SetTokenBucket, index_of: IndexOf, pod_netns: int) -> bytes:
    # With the link layer given, the kernel computes the transmission times and needs no rate table.
    rate = RATESPEC.pack(0, c.TC_LINKLAYER_ETHERNET, 0, 0, 0, min(tbf.rate_bytes, U32_MAX))
    # The buffer is in clock ticks; TCA_TBF_BURST gives it in bytes and overrides it.
    parameters = rate + bytes(RATESPEC.size) + TBF_QOPT_REST.pack(min(tbf.limit_bytes, U32_MAX), U32_MAX, 0)
    options = nl.nested(
        c.TCA_OPTIONS,
        nl.attribute(c.TCA_TBF_PARMS, parameters),
        nl.u32(c.TCA_TBF_BURST, min(tbf.burst_bytes, U32_MAX)),
        nl.attribute(c.TCA_TBF_RATE64, struct.pack("=Q", tbf.rate_bytes)),
    )
    body = TCMSG.pack(0, index_of(tbf.device), ROOT_HANDLE, c.TC_H_ROOT, 0)
    flags = c.NLM_F_CREATE | c.NLM_F_REPLACE
    return nl.message(c.RTM_NEWQDISC, flags, body, nl.text(c.TCA_KIND, "tbf"), options)


def _add_ingress(ingress: op.AddIngress, index_of: IndexOf, pod_netns: int) -> bytes:
    body = TCMSG.pack(0, index_of(ingress.device), INGRESS_HANDLE, c.TC_H_INGRESS, 0)
    return nl.message(c.RTM_NEWQDISC, CREATE, body, nl.text(c.TCA_KIND, "ingress"))


def _add_redirect(redirect: op.AddRedirect, index_of: IndexOf, pod_netns: int) -> bytes:
    everything = U32_SEL.pack(c.TC_U32_TERMINAL, 0, 1, 0, 0, 0, 0, 0) + U32_KEY.pack(0, 0, 0, 0)
    mirred = MIRRED.pack(0, 0, c.TC_ACT_STOLEN, 0, 0, c.TCA_EGRESS_REDIR, index_of(redirect.to))
    options = nl.nested(c.TCA_ACT_OPTIONS, nl.attribute(c.TCA_MIRRED_PARMS, mirred))
    first = nl.nested(1, nl.text(c.TCA_ACT_KIND, "mirred"), options)  # the first action of a list
    selected = nl.attribute(c.TCA_U32_SEL, everything) + nl.nested(c.TCA_U32_ACT, first)
    priority_and_protocol = op.PRIORITY << 16 | ETH_P_ALL_BIG_ENDIAN
    body = TCMSG.pack(0, index_of(redirect.device), 0, INGRESS_HANDLE, priority_and_protocol)
    kind = nl.text(c.TCA_KIND, "u32")
    return nl.message(c.RTM_NEWTFILTER, CREATE, body, kind, nl.nested(c.TCA_OPTIONS, selected))


ENCODERS: dict[type, Callable[..., bytes]] = {
    op.AddIfb: _add_ifb,
    op.SetTokenBucket: _token_bucket,
    op.AddIngress: _add_ingress,
    op.AddRedirect: _add_redirect,
}


def read_rate_bytes(socket: Netlink, index: int) -> int:
    """The rate of a device's token bucket in bytes a second; 0 if it has none. Raises NetlinkError.

    tc -j qdisc show dev DEVICE root
    """
    request = nl.message(c.RTM_GETQDISC, c.NLM_F_DUMP, TCMSG.pack(0, index, 0, 0, 0))
    for kind, payload in socket.get(request):
        if kind != c.RTM_NEWQDISC:
            continue
        _, device, _, parent, _ = TCMSG.unpack_from(payload)
        found = nl.attributes(payload, TCMSG.size)
        if device != index or parent != c.TC_H_ROOT or found.get(c.TCA_KIND) != b"tbf\0":
            continue
        options = nl.attributes(found.get(c.TCA_OPTIONS, b""))
        if c.TCA_TBF_RATE64 in options:
            return int.from_bytes(options[c.TCA_TBF_RATE64], "little")
        rate: int = RATESPEC.unpack_from(options[c.TCA_TBF_PARMS])[5]
        return rate
    return 0
