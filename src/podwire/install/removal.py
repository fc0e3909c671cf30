# SPDX-License-Identifier: Apache-2.0
"""Removes everything that podwire made in the kernel, found by its names, aliases and tags; and proves it."""

from __future__ import annotations

from typing import Any

from podwire.attachments.identity import DEVICE_LETTERS, MADE_ALIAS, PREFIX, parse_alias
from podwire.bandwidth.egress import is_egress
from podwire.datapath.gateway import is_made
from podwire.datapath.peers import read_peer_routes
from podwire.datapath.vxlan import VXLAN_DEVICE
from podwire.install.errors import InstallationError
from podwire.netlink import read
from podwire.netlink.apply import KernelRefusedError, apply
from podwire.netlink.link_deleter import delete_group
from podwire.netlink.operations import DeleteRoute
from podwire.netlink.socket import Netlink, NetlinkError
from podwire.nft.library import Nftables, NftablesError
from podwire.nft.names import COMMENT_PREFIX, TABLE_PREFIX, is_identifier

GROUP = 0x7077FFFF


def devices(socket: Netlink) -> list[str]:
    """Attachments, and the bridges and VXLAN devices that podwire made."""
    return [link.name for link in read.links(socket) if _is_attachment(link) or is_egress(link) or _is_made(link)]


def _is_attachment(link: read.Link) -> bool:
    named = link.kind == "veth" and link.name.startswith(PREFIX) and len(link.name) == DEVICE_LETTERS
    return named and (not link.alias or parse_alias(link.alias) is not None)


def _is_made(link: read.Link) -> bool:
    """Did podwire make this bridge or VXLAN device? Also if the process ended before it set the alias."""
    if link.kind == "vxlan":
        return link.name in VXLAN_DEVICE.values()
    return link.kind == "bridge" and (link.alias.startswith(MADE_ALIAS) or is_made(link.name, link.mac))


def routes(socket: Netlink) -> list[DeleteRoute]:
    return [DeleteRoute(one.device, network) for network, one in read_peer_routes(socket).routes.items()]


def rules(nftables: Nftables) -> list[dict[str, Any]]:
    chains = [entry["chain"] for entry in nftables.list("chains") if "chain" in entry]
    forward = [chain for chain in chains if chain.get("hook") == "forward" and is_identifier(chain["name"])]
    found = []
    for chain in forward:
        listing = nftables.list(f"chain {chain['family']} {chain['table']} {chain['name']}")
        found += [entry["rule"] for entry in listing if "rule" in entry]
    return [rule for rule in found if rule.get("comment", "").startswith(COMMENT_PREFIX)]


def tables(nftables: Nftables) -> list[str]:
    listing = [entry["table"] for entry in nftables.list("tables") if "table" in entry]
    return [entry["name"] for entry in listing if entry["family"] == "inet" and entry["name"].startswith(TABLE_PREFIX)]


def remove() -> list[str]:
    """Remove it all; a line for each. Raises InstallationError, PermissionError."""
    done = []
    try:
        with Netlink() as socket:
            names = devices(socket)
            delete_group(socket, names, GROUP)
            done += [f"device {name}: removed" for name in names]
            for route in routes(socket):
                apply(socket, [route])
                done.append(f"route {route.destination}: removed")
        nftables = Nftables()
        for rule in rules(nftables):
            place = f"{rule['family']} {rule['table']} {rule['chain']}"
            nftables.run(f"delete rule {place} handle {rule['handle']}")
            done.append(f"nft rule in {place}: removed")
        for table in tables(nftables):
            nftables.run(f"delete table inet {table}")
            done.append(f"nft table inet {table}: removed")
    except NetlinkError as refused:
        if refused.errno == 1:
            raise PermissionError(1, "not permitted", "removing devices") from None
        raise InstallationError(f"the kernel refused: {refused.strerror}") from None
    except KernelRefusedError as refused:
        raise InstallationError(str(refused)) from None
    except NftablesError as refused:
        raise InstallationError(f"nftables: {refused}") from None
    return done


def remains() -> list[str]:
    """What remains, read from the kernel again; a line for each object."""
    with Netlink() as socket:
        found = [f"device {name}" for name in devices(socket)]
        found += [f"route {route.destination}" for route in routes(socket)]
    nftables = Nftables()
    found += [f"nft table inet {name}" for name in tables(nftables)]
    return found + [f"nft rule in {rule['family']} {rule['table']} {rule['chain']}" for rule in rules(nftables)]
