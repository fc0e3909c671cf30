"""How many attachments there are, and which addresses they hold: less than `attachments` reads, for metrics."""

from __future__ import annotations

from collections.abc import Callable

from podwire.ipam.lease import is_address
from podwire.kernel import encode as rt
from podwire.kernel import netlink as nl
from podwire.kernel.netlink import Netlink
from podwire.kernel.read import SKIP_STATS, altnames
from podwire.pod.identity import DEVICE_LETTERS, PREFIX

AT_ONCE = 50
NAME_STARTS = 20
"""`struct ifinfomsg` and an attribute's head: the kernel writes IFLA_IFNAME first (rtnl_fill_ifinfo)."""


def read_leases(socket: Netlink, breathe: Callable[[], None]) -> tuple[int, list[str]]:
    """The number of attachments' devices, and the addresses that are their altnames. Raises NetlinkError.

    `breathe` is called after every fifty devices: with a thousand, reading takes 10 ms and more, and is not urgent.
    """
    ask = nl.message(rt.RTM_GETLINK, nl.NLM_F_DUMP, rt.link_body(), SKIP_STATS)
    first = PREFIX.encode()
    found = [
        payload for _, payload in socket.get(ask) if bytes(payload[NAME_STARTS : NAME_STARTS + len(first)]) == first
    ]
    pods, leased = 0, []
    for place, payload in enumerate(found, 1):
        values = nl.attributes(payload, 16)
        if len(values.get(rt.IFLA_IFNAME, b"").rstrip(b"\0")) == DEVICE_LETTERS:
            pods += 1
            leased += [name for name in altnames(values.get(rt.IFLA_PROP_LIST)) if is_address(name)]
        if place % AT_ONCE == 0:
            breathe()
    return pods, leased
