"""The world outside of a node: a host that has no route to any pod, so that only masqueraded traffic gets an answer."""

from __future__ import annotations

from dataclasses import dataclass

from podwire.lab import netns
from podwire.lab.command import Done, run
from podwire.lab.place import Place

# Ranges set aside for documentation (RFC 5737, RFC 3849): they are nobody's.
LINK_NODE = ("192.0.2.2/24", "2001:db8:1::2/64")
LINK_GATEWAY = ("192.0.2.1/24", "2001:db8:1::1/64")
HOST = ("198.51.100.1/32", "2001:db8:2::1/128")
NODE_DEVICE = "eth0"
OUTSIDE_DEVICE = "node0"


def bare(address: str) -> str:
    """An address without its prefix length."""
    return address.partition("/")[0]


@dataclass(frozen=True)
class Outside:
    """The outside of one node: the node's default route leads to it."""

    place: Place

    @property
    def addresses(self) -> tuple[str, ...]:
        """What pods may call: an IPv4 and an IPv6 address."""
        return tuple(bare(each) for each in HOST)

    @property
    def seen_node(self) -> tuple[str, ...]:
        """The node as it is seen from here."""
        return tuple(bare(each) for each in LINK_NODE)

    def argv(self, *argv: str) -> list[str]:
        """The command line that runs `argv` here."""
        return ["nsenter", f"--net={self.place.netns_path}", "--", *argv]

    def run(self, *argv: str, check: bool = True) -> Done:
        """Run a command here."""
        return run(self.argv(*argv), check=check)


def connect(node: Place, outside: Place) -> Outside:
    """Make the outside and lead the node's default routes to it; both families."""
    netns.add(outside)
    netns.wire(node, NODE_DEVICE, outside, OUTSIDE_DEVICE)
    netns.address(node, NODE_DEVICE, *LINK_NODE)
    netns.address(outside, OUTSIDE_DEVICE, *LINK_GATEWAY)
    netns.address(outside, "lo", *HOST)
    for gateway in LINK_GATEWAY:
        netns.route(node, "default", bare(gateway))
    return Outside(outside)
