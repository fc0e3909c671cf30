# SPDX-License-Identifier: Apache-2.0
"""Operations as rtnetlink messages; `operations.py` has the command that each one equals."""

from __future__ import annotations

from _socket import AF_INET6
from collections.abc import Callable

from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import operations as op
from podwire.netlink import tc as shaping

CREATE, REPLACE = c.NLM_F_CREATE | c.NLM_F_EXCL, c.NLM_F_CREATE | c.NLM_F_REPLACE
VETH, BRIDGE, VXLAN = (nl.text(c.IFLA_INFO_KIND, kind) for kind in ("veth", "bridge", "vxlan"))
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


def _name_and_mac(name: str, mac: str) -> bytes:
    return nl.text(c.IFLA_IFNAME, name) + nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(mac))


def _mtu(mtu: int | None) -> bytes:
    return nl.u32(c.IFLA_MTU, mtu) if mtu else b""


def _change_link(index: int, *attributes: bytes, flags: int = 0) -> bytes:
    return nl.message(c.RTM_NEWLINK, 0, nl.link_body(index, flags, flags), *attributes)


def _add_veth(veth: op.AddVeth, index_of: IndexOf, pod_netns: int) -> bytes:
    peer = nl.link_body(veth.peer_index) + _name_and_mac(veth.peer, veth.peer_mac)
    peer += nl.u32(c.IFLA_NET_NS_FD, pod_netns) + nl.ONE_QUEUE + _mtu(veth.mtu)
    return nl.message(
        c.RTM_NEWLINK,
        CREATE,
        nl.link_body(veth.index),
        _name_and_mac(veth.name, veth.mac),
        nl.ONE_QUEUE,
        _mtu(veth.mtu),
        nl.u32(c.IFLA_MASTER, index_of(veth.master)) if veth.master else b"",
        nl.nested(c.IFLA_LINKINFO, VETH, nl.nested(c.IFLA_INFO_DATA, nl.attribute(c.VETH_INFO_PEER, peer))),
    )


def _add_bridge(bridge: op.AddBridge, index_of: IndexOf, pod_netns: int) -> bytes:
    attributes = _name_and_mac(bridge.name, bridge.mac), _mtu(bridge.mtu), nl.nested(c.IFLA_LINKINFO, BRIDGE)
    return nl.message(c.RTM_NEWLINK, CREATE, nl.link_body(), *attributes)


def _delete_link(gone: op.DeleteLink, index_of: IndexOf, pod_netns: int) -> bytes:
    return nl.message(c.RTM_DELLINK, 0, nl.link_body(), nl.text(c.IFLA_IFNAME, gone.device))


def _set_alias(owner: op.SetAlias, index_of: IndexOf, pod_netns: int) -> bytes:
    alias = nl.attribute(c.IFLA_IFALIAS, nl.padded(owner.alias, *ALIAS_LENGTHS))
    return _change_link(index_of(owner.device), alias, ADDRGENMODE_NONE if owner.addrgenmode_none else b"")


def _add_altname(lease: op.AddAltname, index_of: IndexOf, pod_netns: int) -> bytes:
    name = nl.padded(lease.altname, ADDRESS_TEXT_BYTES[6 if ":" in lease.altname else 4])
    names = nl.nested(c.IFLA_PROP_LIST, nl.attribute(c.IFLA_ALT_IFNAME, name))
    return nl.message(c.RTM_NEWLINKPROP, CREATE, nl.link_body(index_of(lease.device)), names)


def _set_up(up: op.SetUp, index_of: IndexOf, pod_netns: int) -> bytes:
    return _change_link(index_of(up.device), flags=c.IFF_UP)


def _set_mac(mac: op.SetMac, index_of: IndexOf, pod_netns: int) -> bytes:
    return _change_link(index_of(mac.device), nl.attribute(c.IFLA_ADDRESS, nl.mac_bytes(mac.mac)))


def _set_promiscuous(device: op.SetPromiscuous, index_of: IndexOf, pod_netns: int) -> bytes:
    return _change_link(index_of(device.device), flags=c.IFF_PROMISC)


def _set_hairpin(port: op.SetHairpin, index_of: IndexOf, pod_netns: int) -> bytes:
    return _change_link(index_of(port.device), HAIRPIN)


def _add_address(operation: op.AddAddress, index_of: IndexOf, pod_netns: int) -> bytes:
    address, version = operation.address.ip.packed, operation.address.version
    network, index = operation.address.network, index_of(operation.device)
    flags = c.IFA_F_PERMANENT | (c.IFA_F_NODAD if version == 6 else 0)
    broadcast = b""
    if version == 4 and network.prefixlen < 31:
        broadcast = nl.attribute(c.IFA_BROADCAST, network.broadcast_address.packed)
    body = nl.IFADDRMSG.pack(nl.family(version), network.prefixlen, flags, c.RT_SCOPE_UNIVERSE, index)
    both = nl.attribute(c.IFA_LOCAL, address) + nl.attribute(c.IFA_ADDRESS, address)
    return nl.message(c.RTM_NEWADDR, CREATE, body, both, broadcast, nl.u32(c.IFA_FLAGS, flags))


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
            *(nl.family(destination.version), destination.prefixlen, 0, 0, table if table < 256 else 0),
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
    body = nl.NDMSG.pack(nl.family(entry.address.version), index_of(entry.device), c.NUD_PERMANENT, 0, 0)
    mac = nl.attribute(c.NDA_LLADDR, nl.mac_bytes(entry.mac))
    return nl.message(c.RTM_NEWNEIGH, REPLACE, body, nl.attribute(c.NDA_DST, entry.address.packed), mac)


def _add_vxlan(vxlan: op.AddVxlan, index_of: IndexOf, pod_netns: int) -> bytes:
    data = nl.nested(
        c.IFLA_INFO_DATA,
        nl.u32(c.IFLA_VXLAN_ID, vxlan.vni),
        nl.u32(c.IFLA_VXLAN_LINK, index_of(vxlan.underlay)),
        nl.attribute(c.IFLA_VXLAN_LOCAL if vxlan.local.version == 4 else c.IFLA_VXLAN_LOCAL6, vxlan.local.packed),
        nl.attribute(c.IFLA_VXLAN_LEARNING, b"\0"),
        nl.attribute(c.IFLA_VXLAN_PORT, vxlan.port.to_bytes(2, "big")),
    )
    attributes = _name_and_mac(vxlan.name, vxlan.mac), _mtu(vxlan.mtu), nl.nested(c.IFLA_LINKINFO, VXLAN, data)
    return nl.message(c.RTM_NEWLINK, CREATE, nl.link_body(), *attributes)


def _delete_route(gone: op.DeleteRoute, index_of: IndexOf, pod_netns: int) -> bytes:
    to, version = gone.destination.network_address.packed, nl.family(gone.destination.version)
    head = version, gone.destination.prefixlen, 0, 0, c.RT_TABLE_MAIN, gone.protocol, c.RT_SCOPE_NOWHERE, 0, 0
    device = nl.u32(c.RTA_OIF, index_of(gone.device))
    return nl.message(c.RTM_DELROUTE, 0, nl.RTMSG.pack(*head), nl.attribute(c.RTA_DST, to), device)


def _delete_neighbour(gone: op.DeleteNeighbour, index_of: IndexOf, pod_netns: int) -> bytes:
    body = nl.NDMSG.pack(nl.family(gone.address.version), index_of(gone.device), 0, 0, 0)
    return nl.message(c.RTM_DELNEIGH, 0, body, nl.attribute(c.NDA_DST, gone.address.packed))


def _forwarding(entry: op.AddForwarding | op.DeleteForwarding, index_of: IndexOf, pod_netns: int) -> bytes:
    kind, flags = (c.RTM_NEWNEIGH, REPLACE) if isinstance(entry, op.AddForwarding) else (c.RTM_DELNEIGH, 0)
    body = nl.NDMSG.pack(c.AF_BRIDGE, index_of(entry.device), c.NUD_PERMANENT | c.NUD_NOARP, c.NTF_SELF, 0)
    mac = nl.attribute(c.NDA_LLADDR, nl.mac_bytes(entry.mac))
    return nl.message(kind, flags, body, mac, nl.attribute(c.NDA_DST, entry.node.packed))


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
    op.AddForwarding: _forwarding,
    op.DeleteForwarding: _forwarding,
    **shaping.ENCODERS,
}


def encode(operation: op.Operation, index_of: IndexOf, pod_netns: int = -1) -> bytes:
    """The message of an operation; `pod_netns` is a descriptor of the namespace of `AddVeth`'s peer."""
    return ENCODERS[type(operation)](operation, index_of, pod_netns)
