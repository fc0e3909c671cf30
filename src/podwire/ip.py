# SPDX-License-Identifier: Apache-2.0
"""The types of IP addresses, interfaces (an address with a prefix length) and networks, of both IP versions."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network


def with_prefix(address: Address, prefix: int) -> Interface:
    """An address with a prefix length; made from the number, because parsing text takes ten times as long."""
    return (IPv4Interface if address.version == 4 else IPv6Interface)((int(address), prefix))


def single_address(address: Address) -> Network:
    """The network that contains only this address: /32 or /128."""
    return (IPv4Network if address.version == 4 else IPv6Network)(int(address))
