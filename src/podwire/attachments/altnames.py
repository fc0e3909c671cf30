"""The addresses among a device's altnames: what the device leases."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from podwire.ip import Address


def is_address(name: str) -> bool:
    """Is an altname an address, that is, a lease?"""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def leased_addresses(names: Iterable[str]) -> list[Address]:
    """The addresses among altnames: what these names lease."""
    found: list[Address] = []
    for name in names:
        try:
            found.append(ip_address(name))
        except ValueError:
            continue
    return found
