"""Operations as rtnetlink messages; `operations.py` has the command that each one equals."""

from __future__ import annotations

from _socket import AF_INET6
from collections.abc import Callable

from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import operations as op
from podwire.netlink import tc as shaping

CREATE = c.NLM_F_CREATE | c.NLM_F_EXCL
ONE_QUEUE = nl.u32(c.IFLA_NUM_TX_QUEUES, 1) + nl.u32(c.IFLA_NUM_RX_QUEUES, 1)
"""The kernel would create one queue per processor; a veth has no queue that can fill up, so one is enough."""

VETH = nl.text(c.IFLA_INFO_KIND, "veth")
BRIDGE = nl.text(c.IFLA_INFO_KIND, "bridge")
VXLAN = nl.text(c.IFLA_INFO_KIND, "vxlan")
ADDRGENMODE_NONE = nl.nested(
    c.IFLA_AF_SPEC, nl.nested(AF_INET6, nl.attribute(c.IFLA_INET6_ADDR_GEN_MODE, bytes([c.IN6_ADDR_GEN_MODE_NONE])))
)
HAIRPIN = nl.nested(
    c.IFLA_LINKINFO,
    nl.text(c.IFLA_INFO_SLAVE_KIND, "bridge"),
    nl.nested(c.IFLA_INFO_SLAVE_DATA, nl.attribute(c.IFLA_BRPORT_MODE, b"\1")),
)

ALIAS_LENGTHS = (64, 128, 192, 252)
"""Aliases are padded to these lengths in bytes, so that a message template fits most pods."""

ADDRESS_TEXT_BYTES = {4: 16, 6: 40}
"""The length of an address's longest text with its NUL, by IP version."""

IndexOf = Callable[[str], int]
"""The index of a device by its name; raises NetlinkError(ENODEV)."""


def _add_veth(veth: op.AddVeth, index_of: IndexOf, pod_netns: int) -> bytes:
    mtu = nl.u32(c.IFLA_MTU, veth.mtu) if veth.mtu else b""
    peer = nl.attribute(
        c.VETH_INFO_PEER,
        nl.link_body(veth.peer_index)
        + nl.text(c.IFLA_IFNAME, veth.peer)
        + nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(veth.peer_mac))
        + nl.u32(c.IFLA_NET_NS_FD, pod_netns)
        + ONE_QUEUE
        + mtu,
    )
    return nl.message(
        c.RTM_NEWLINK,
        CREATE,
        nl.link_body(veth.index),
        nl.text(c.IFLA_IFNAME, veth.name),
        nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(veth.mac)),
        ONE_QUEUE,
        mtu,
        nl.u32(c.IFLA_MASTER, index_of(veth.master)) if veth.master else b"",
        nl.nested(c.IFLA_LINKINFO, VETH, nl.nested(c.IFLA_INFO_DATA, peer)),
    )


def _add_bridge(bridge: op.AddBridge, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(
        c.RTM_NEWLINK,
        CREATE,
        nl.link_body(),
        nl.text(c.IFLA_IFNAME, bridge.name),
        nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(bridge.mac)),
        nl.u32(c.IFLA_MTU, bridge.mtu) if bridge.mtu else b"",
        nl.nested(c.IFLA_LINKINFO, BRIDGE),
    )


def _delete_link(gone: op.DeleteLink, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(c.RTM_DELLINK, 0, nl.link_body(), nl.text(c.IFLA_IFNAME, gone.device))


def _set_alias(owner: op.SetAlias, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(
        c.RTM_NEWLINK,
        0,
        nl.link_body(index_of(owner.device)),
        nl.attribute(c.IFLA_IFALIAS, nl.padded(owner.alias, *ALIAS_LENGTHS)),
        ADDRGENMODE_NONE if owner.addrgenmode_none else b"",
    )


def _add_altname(lease: op.AddAltname, index_of: IndexOf, pod_netns: int) -> bytes:
    name = nl.padded(lease.altname, ADDRESS_TEXT_BYTES[6 if ":" in lease.altname else 4])
    return nl.message(
        c.RTM_NEWLINKPROP,
        c.NLM_F_CREATE | c.NLM_F_EXCL,
        nl.link_body(index_of(lease.device)),
        nl.nested(c.IFLA_PROP_LIST, nl.attribute(c.IFLA_ALT_IFNAME, name)),
    )


def _set_up(up: op.SetUp, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(c.RTM_NEWLINK, 0, nl.link_body(index_of(up.device), c.IFF_UP, c.IFF_UP))


def _set_mac(mac: op.SetMac, index_of: IndexOf, pod_netns: int) -> bytes:
    new = nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(mac.mac))
    return nl.message(c.RTM_NEWLINK, 0, nl.link_body(index_of(mac.device)), new)


def _set_promiscuous(device: op.SetPromiscuous, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(c.RTM_NEWLINK, 0, nl.link_body(index_of(device.device), c.IFF_PROMISC, c.IFF_PROMISC))


def _set_hairpin(port: op.SetHairpin, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(c.RTM_NEWLINK, 0, nl.link_body(index_of(port.device)), HAIRPIN)


def _add_address(operation: op.AddAddress, index_of: IndexOf, pod_netns: int) -> bytes:
    address, version = operation.address.ip.packed, operation.address.version
    network, index = operation.address.network, index_of(operation.device)
    flags = c.IFA_F_PERMANENT | (c.IFA_F_NODAD if version == 6 else 0)
    broadcast = b""
    if version == 4 and network.prefixlen < 31:
        broadcast = nl.attribute(c.IFA_BROADCAST, network.broadcast_address.packed)
    return nl.message(
        c.RTM_NEWADDR,
        CREATE,
        nl.IFADDRMSG.pack(nl.family(version), network.prefixlen, flags, c.RT_SCOPE_UNIVERSE, index),
        nl.attribute(c.IFA_LOCAL, address),
        nl.attribute(c.IFA_ADDRESS, address),
        broadcast,
        nl.u32(c.IFA_FLAGS, flags),
    )


def _add_route(route: op.AddRoute, index_of: IndexOf, pod_netns: int) -> bytes:
    destination = route.destination
    scope = route.scope
    if scope is None:
        scope = c.RT_SCOPE_LINK if route.link_scope and destination.version == 4 else c.RT_SCOPE_UNIVERSE
    table = c.RT_TABLE_MAIN if route.table is None else route.table
    metrics = [nl.u32(kind, value) for kind, value in ((c.RTAX_MTU, route.mtu), (c.RTAX_ADVMSS, route.advmss)) if value]
    return nl.message(
        c.RTM_NEWROUTE,
        c.NLM_F_CREATE | (c.NLM_F_REPLACE if route.replace else c.NLM_F_EXCL),
        nl.RTMSG.pack(
            *(nl.family(destination.version), destination.prefixlen, 0, 0, min(table, 255) if table < 256 else 0),
            *(route.protocol, scope, c.RTN_UNICAST, c.RTNH_F_ONLINK if route.onlink else 0),
        ),
        nl.attribute(c.RTA_DST, destination.network_address.packed) if destination.prefixlen else b"",
        nl.attribute(c.RTA_GATEWAY, route.via.packed) if route.via else b"",
        nl.u32(c.RTA_OIF, index_of(route.device)),
        nl.u32(c.RTA_PRIORITY, route.metric) if route.metric else b"",
        nl.attribute(c.RTA_PREFSRC, route.source.packed) if route.source else b"",
        nl.u32(c.RTA_TABLE, table) if table > 255 else b"",
        nl.nested(c.RTA_METRICS, *metrics) if metrics else b"",
    )


def _add_neighbour(entry: op.AddNeighbour, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(
        c.RTM_NEWNEIGH,
        c.NLM_F_CREATE | c.NLM_F_REPLACE,
        nl.NDMSG.pack(nl.family(entry.address.version), index_of(entry.device), c.NUD_PERMANENT, 0, 0),
        nl.attribute(c.NDA_DST, entry.address.packed),
        nl.attribute(c.NDA_LLADDR, nl.mac_bytes(entry.mac)),
    )


def _add_vxlan(vxlan: op.AddVxlan, index_of: IndexOf, pod_netns: int) -> bytes:
    local = c.IFLA_VXLAN_LOCAL if vxlan.local.version == 4 else c.IFLA_VXLAN_LOCAL6
    data = nl.nested(
        c.IFLA_INFO_DATA,
        nl.u32(c.IFLA_VXLAN_ID, vxlan.vni),
        nl.u32(c.IFLA_VXLAN_LINK, index_of(vxlan.underlay)),
        nl.attribute(local, vxlan.local.packed),
        nl.attribute(c.IFLA_VXLAN_LEARNING, b"\0"),
        nl.attribute(c.IFLA_VXLAN_PORT, vxlan.port.to_bytes(2, "big")),
    )
    return nl.message(
        c.RTM_NEWLINK,
        CREATE,
        nl.link_body(),
        nl.text(c.IFLA_IFNAME, vxlan.name),
        nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(vxlan.mac)),
        nl.u32(c.IFLA_MTU, vxlan.mtu),
        nl.nested(c.IFLA_LINKINFO, VXLAN, data),
    )


def _delete_route(gone: op.DeleteRoute, index_of: IndexOf, pod_netns: int) -> bytes:
    to = gone.destination
    body = nl.RTMSG.pack(
        nl.family(to.version), to.prefixlen, 0, 0, c.RT_TABLE_MAIN, gone.protocol, c.RT_SCOPE_NOWHERE, 0, 0
    )
    return nl.message(
        c.RTM_DELROUTE,
        0,
        body,
        nl.attribute(c.RTA_DST, to.network_address.packed),
        nl.u32(c.RTA_OIF, index_of(gone.device)),
    )


def _delete_neighbour(gone: op.DeleteNeighbour, index_of: IndexOf, pod_netns: int) -> bytes:
    body = nl.NDMSG.pack(nl.family(gone.address.version), index_of(gone.device), 0, 0, 0)
    return nl.message(c.RTM_DELNEIGH, 0, body, nl.attribute(c.NDA_DST, gone.address.packed))


def _forwarding(kind: int, flags: int, entry: op.AddForwarding | op.DeleteForwarding, index_of: IndexOf) -> bytes:
    return nl.message(
        kind,
        flags,
        nl.NDMSG.pack(c.AF_BRIDGE, index_of(entry.device), c.NUD_PERMANENT | c.NUD_NOARP, c.NTF_SELF, 0),
        nl.attribute(c.NDA_LLADDR, nl.mac_bytes(entry.mac)),
        nl.attribute(c.NDA_DST, entry.node.packed),
    )


def _add_forwarding(entry: op.AddForwarding, index_of: IndexOf, pod_netns: int) -> bytes:
    return _forwarding(c.RTM_NEWNEIGH, c.NLM_F_CREATE | c.NLM_F_REPLACE, entry, index_of)


def _delete_forwarding(entry: op.DeleteForwarding, index_of: IndexOf, pod_netns: int) -> bytes:
    return _forwarding(c.RTM_DELNEIGH, 0, entry, index_of)


ENCODERS: dict[type, Callable[..., bytes]] = {
    op.AddVeth: _add_veth,
    op.AddBridge: _add_bridge,
    op.DeleteLink: _delete_link,
    op.SetAlias: _set_alias,
    op.AddAltname: _add_altname,
    op.SetUp: _set_up,
    op.SetMac: _set_mac,
    op.SetPromiscuous: _set_promiscuous,
    op.SetHairpin: _set_hairpin,
    op.AddAddress: _add_address,
    op.AddRoute: _add_route,
    op.AddNeighbour: _add_neighbour,
    op.AddVxlan: _add_vxlan,
    op.DeleteRoute: _delete_route,
    op.DeleteNeighbour: _delete_neighbour,
    op.AddForwarding: _add_forwarding,
    op.DeleteForwarding: _delete_forwarding,
    **shaping.ENCODERS,
}


def encode(operation: op.Operation, index_of: IndexOf, pod_netns: int = -1) -> bytes:
    """The message of an operation; `pod_netns` is a descriptor of the namespace of `AddVeth`'s peer."""
    return ENCODERS[type(operation)](operation, index_of, pod_netns)
