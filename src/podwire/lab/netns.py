"""The network namespaces of a lab and the wires between them, by `ip`."""

from __future__ import annotations

from contextlib import suppress

from podwire.lab.command import run
from podwire.lab.place import NETNS_FOLDER, Place, read_netns


def add(place: Place) -> None:
    """Make the place's network namespace with `lo` up; raises CommandError if it is there already."""
    run(["ip", "netns", "add", place.netns])
    run(["ip", "-n", place.netns, "link", "set", "lo", "up"])


def delete(place: Place) -> None:
    """Remove its name (also one that an interrupted `add` left without a namespace)."""
    if place.netns_path.exists():
        run(["ip", "netns", "delete", place.netns], check=False)
        with suppress(FileNotFoundError):
            place.netns_path.unlink()


def read_places() -> set[Place]:
    """The places of all labs that have a network namespace."""
    names = (path.name for path in NETNS_FOLDER.iterdir()) if NETNS_FOLDER.is_dir() else ()
    return {place for name in names if (place := read_netns(name))}


def wire(one: Place, one_name: str, other: Place, other_name: str) -> None:
    """A veth pair between two places, both ends up and born where they belong."""
    peer = ["peer", "name", other_name, "netns", other.netns]
    run(["ip", "-n", one.netns, "link", "add", one_name, "type", "veth", *peer])
    run(["ip", "-n", one.netns, "link", "set", one_name, "up"])
    run(["ip", "-n", other.netns, "link", "set", other_name, "up"])


def address(place: Place, device: str, *addresses: str) -> None:
    """Give a device addresses with prefix length; IPv6 ones are usable at once (no duplicate detection)."""
    for each in addresses:
        nodad = ["nodad"] if ":" in each else []
        run(["ip", "-n", place.netns, "address", "add", each, "dev", device, *nodad])


def route(place: Place, destination: str, gateway: str) -> None:
    """A route through a gateway; `default` is a destination too, of the gateway's family."""
    family = "-6" if ":" in gateway else "-4"
    run(["ip", "-n", place.netns, family, "route", "add", destination, "via", gateway])
