# SPDX-License-Identifier: Apache-2.0
"""Reads this node's endpoints from the kernel: the host, and its pods with the files of their namespaces."""

from __future__ import annotations

import os
import socket as sockets
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from podwire.attachments.read import read_attachments
from podwire.datapath.peers import read_underlay
from podwire.diagnose.endpoints import Endpoint
from podwire.ip import Address
from podwire.netlink import constants as c
from podwire.netlink import message as nl
from podwire.netlink import namespaces as namespace
from podwire.netlink import read
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.node.settings import NodeSettings, Peer

FOLDERS = ("/run/netns", "/var/run/netns", "/run/docker/netns")
OWN_NETNS = "/proc/self/ns/net"
GATEWAY_DEVICES = ("podwire0", "cni0")


def read_endpoints(settings: NodeSettings | None = None, peers: Iterable[Peer] = ()) -> list[Endpoint]:
    """The host and its pods, and the hosts of `peers`, which are only called."""
    node = settings.name if settings else sockets.gethostname()
    with Netlink() as socket:
        found = read_attachments(socket)
        host = _host_addresses(socket, settings)
        netns_ids = _peer_netns_ids(socket)
        wanted = {netns_ids[attachment.device] for attachment in found if attachment.device in netns_ids}
        files = _files(socket, wanted)
    endpoints = [Endpoint(f"host {node}", "host", node, tuple(host), OWN_NETNS)]
    names: set[str] = set()
    for attachment in found:
        name = attachment.pod or attachment.container_id[:13]
        if name in names:
            name = f"{name} {attachment.ifname}"
        names.add(name)
        addresses = tuple(ip_address(address) for address in attachment.addresses)
        netns = files.get(netns_ids.get(attachment.device, -1), "")
        endpoints.append(Endpoint(name, "pod", node, addresses, netns))
    return endpoints + [Endpoint(f"host {peer.name}", "host", peer.name, peer.addresses) for peer in peers]


def _host_addresses(socket: Netlink, settings: NodeSettings | None) -> list[Address]:
    """The node's own address of each family, then the gateways of its pods."""
    found: list[Address] = list(settings.addresses) if settings else []
    for underlay in read_underlay(socket):
        if all(underlay.address.version != each.version for each in found):
            found.append(underlay.address.ip)
    indexes = {link.index for link in read.links(socket) if link.name in GATEWAY_DEVICES}
    for version in (4, 6):
        for index, address in read.all_addresses(socket, version):
            if index in indexes and not address.ip.is_link_local and address.ip not in found:
                found.append(address.ip)
    return found


def _peer_netns_ids(socket: Netlink) -> dict[str, int]:
    """The ID (IFLA_LINK_NETNSID) of the namespace of each veth's peer, by the veth's name."""
    found = {}
    for kind, payload in socket.get(nl.message(c.RTM_GETLINK, c.NLM_F_DUMP, nl.link_body(), read.SKIP_STATS)):
        values = nl.attributes(payload, 16)
        if kind == c.RTM_NEWLINK and c.IFLA_LINK_NETNSID in values:
            found[read.string(values.get(c.IFLA_IFNAME))] = _signed(values[c.IFLA_LINK_NETNSID])
    return found


def _files(socket: Netlink, wanted: set[int]) -> dict[int, str]:
    """The file of each wanted namespace by its ID: a named namespace if possible, else a process' file."""
    found: dict[int, str] = {}
    for path in _candidates():
        if wanted <= found.keys():
            break
        netns_id = _netns_id(socket, path)
        if netns_id in wanted:
            found.setdefault(netns_id, path)
    return found


def _candidates() -> Iterator[str]:
    for folder in FOLDERS:
        if os.path.isdir(folder):  # noqa: PTH112 -- plain strings, as the kernel's names are
            yield from (entry.path for entry in os.scandir(folder))
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield f"{entry.path}/ns/net"


def _netns_id(socket: Netlink, path: str) -> int:
    """The ID of a namespace's file (RTM_GETNSID, `ip netns list-id`); -1 if it has no ID or is not a namespace."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return -1
    try:
        if not namespace.is_network_namespace(descriptor):
            return -1
        request = nl.message(c.RTM_GETNSID, 0, b"\0\0\0\0", nl.u32(c.NETNSA_FD, descriptor))
        return _signed(nl.attributes(socket.get(request)[0][1], 4)[c.NETNSA_NSID])
    except (NetlinkError, KeyError):
        return -1
    finally:
        os.close(descriptor)


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "little", signed=True)
