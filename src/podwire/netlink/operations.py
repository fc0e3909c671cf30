"""An operation is one change of the kernel's configuration as plain data; `command` is the command that it equals.

Operations refer to devices by name, not by index: they are computed before the devices exist. `rtnl.py` encodes them
as messages; nothing here has an effect.
"""

from __future__ import annotations

from podwire.ip import Address, Interface, Network
from podwire.netlink.tc_operations import TcOperation
from podwire.record import Record

PROTOCOL = 112
"""`rtm_protocol` of every route that podwire adds (rtnetlink(7)): `ip route show proto 112` lists them."""


class AddVeth(Record):
    """Create a veth pair, its peer in the pod's namespace (`IFLA_NET_NS_FD` in `VETH_INFO_PEER`).

    An index of 0 lets the kernel choose.
    """

    name: str
    mac: str
    peer: str
    peer_mac: str
    mtu: int | None = None
    master: str | None = None
    index: int = 0
    peer_index: int = 0

    def command(self) -> list[str]:
        mtu = ["mtu", str(self.mtu)] if self.mtu else []
        master = ["master", self.master] if self.master else []
        index, peer_index = (["index", str(number)] if number else [] for number in (self.index, self.peer_index))
        peer = ["peer", "name", self.peer, *peer_index, "address", self.peer_mac, *mtu, "netns", "POD"]
        return ["ip", "link", "add", self.name, *index, "address", self.mac, *mtu, *master, "type", "veth", *peer]


class AddBridge(Record):
    """Create a bridge with a fixed MAC: without one, the MAC changes with the ports."""

    name: str
    mac: str
    mtu: int | None = None

    def command(self) -> list[str]:
        mtu = ["mtu", str(self.mtu)] if self.mtu else []
        return ["ip", "link", "add", self.name, "address", self.mac, *mtu, "type", "bridge"]


class AddVxlan(Record):
    """Create a VXLAN device without learning: podwire writes all its fdb entries (RFC 7348)."""

    name: str
    mac: str
    vni: int
    port: int
    local: Address
    underlay: str
    mtu: int

    def command(self) -> list[str]:
        return [
            *("ip", "link", "add", self.name, "address", self.mac, "mtu", str(self.mtu), "type", "vxlan"),
            *("id", str(self.vni), "dstport", str(self.port), "local", str(self.local)),
            *("dev", self.underlay, "nolearning"),
        ]


class DeleteLink(Record):
    """Delete a device with its peer, altnames, addresses, routes and neighbours."""

    device: str

    def command(self) -> list[str]:
        return ["ip", "link", "delete", self.device]


class SetAlias(Record):
    """Set a device's alias (`IFLA_IFALIAS`, at most 254 bytes).

    With `addrgenmode_none` the device also gets no link-local address (`IFLA_INET6_ADDR_GEN_MODE`).
    """

    device: str
    alias: str
    addrgenmode_none: bool = False

    def command(self) -> list[str]:
        mode = ["addrgenmode", "none"] if self.addrgenmode_none else []
        return ["ip", "link", "set", self.device, "alias", self.alias, *mode]


class AddAltname(Record):
    """Add an altname to a device (`IFLA_PROP_LIST`, `IFLA_ALT_IFNAME`): a lease or a host port."""

    device: str
    altname: str

    def command(self) -> list[str]:
        return ["ip", "link", "property", "add", "dev", self.device, "altname", self.altname]


class SetUp(Record):
    """Bring a device up (`IFF_UP`)."""

    device: str

    def command(self) -> list[str]:
        return ["ip", "link", "set", self.device, "up"]


class SetMac(Record):
    """Change a device's MAC (`IFLA_ADDRESS`)."""

    device: str
    mac: str

    def command(self) -> list[str]:
        return ["ip", "link", "set", self.device, "address", self.mac]


class SetPromiscuous(Record):
    """Set a device's promiscuous mode (`IFF_PROMISC`)."""

    device: str

    def command(self) -> list[str]:
        return ["ip", "link", "set", self.device, "promisc", "on"]


class SetHairpin(Record):
    """Let a bridge port send a frame back to the port that it came from (`IFLA_BRPORT_MODE`)."""

    device: str

    def command(self) -> list[str]:
        return ["ip", "link", "set", self.device, "type", "bridge_slave", "hairpin", "on"]


class AddAddress(Record):
    """Add an address; IPv6 without duplicate address detection (`IFA_F_NODAD`): the lease makes it unique."""

    device: str
    address: Interface

    def command(self) -> list[str]:
        nodad = ["nodad"] if self.address.version == 6 else []
        return ["ip", "address", "add", str(self.address), "dev", self.device, *nodad]


class AddRoute(Record):
    """Add a route; with `may_exist`, an existing one is kept, with `replace` it is replaced."""

    device: str
    destination: Network
    via: Address | None = None
    link_scope: bool = False
    protocol: int = PROTOCOL
    may_exist: bool = False
    mtu: int | None = None
    advmss: int | None = None
    metric: int | None = None
    table: int | None = None
    scope: int | None = None
    source: Address | None = None
    onlink: bool = False
    replace: bool = False

    def command(self) -> list[str]:
        via = ["via", str(self.via)] if self.via else []
        via += ["onlink"] if self.onlink else []
        link = ["scope", "link"] if self.link_scope and self.destination.version == 4 else []
        extra = [
            word
            for name in ("mtu", "advmss", "metric", "table", "scope")
            if (value := getattr(self, name)) is not None
            for word in (name, str(value))
        ]
        extra += ["src", str(self.source)] if self.source else []
        to = "default" if self.destination.prefixlen == 0 else str(self.destination)
        family = ["-6"] if self.destination.version == 6 else []
        words = [
            "route",
            "replace" if self.replace else "add",
            to,
            *via,
            "dev",
            self.device,
            *link,
            *extra,
            "proto",
            str(self.protocol),
        ]
        return ["ip", *family, *words]


class AddNeighbour(Record):
    """Add or replace a permanent neighbour entry (`NUD_PERMANENT`): no ARP or ND is needed for it."""

    device: str
    address: Address
    mac: str

    def command(self) -> list[str]:
        return [
            *("ip", "neighbour", "replace", str(self.address), "lladdr", self.mac),
            *("dev", self.device, "nud", "permanent"),
        ]


class DeleteRoute(Record):
    """Delete a route of the main table by its destination and device."""

    device: str
    destination: Network
    protocol: int = PROTOCOL

    def command(self) -> list[str]:
        family = ["-6"] if self.destination.version == 6 else []
        words = ["route", "delete", str(self.destination), "dev", self.device, "proto", str(self.protocol)]
        return ["ip", *family, *words]


class DeleteNeighbour(Record):
    """Delete a neighbour entry."""

    device: str
    address: Address

    def command(self) -> list[str]:
        return ["ip", "neighbour", "delete", str(self.address), "dev", self.device]


class AddForwarding(Record):
    """Add or replace a VXLAN fdb entry: frames to a MAC go to a node's address (`NTF_SELF`, `NDA_DST`)."""

    device: str
    mac: str
    node: Address

    def command(self) -> list[str]:
        return ["bridge", "fdb", "replace", self.mac, "dev", self.device, "dst", str(self.node), "self", "permanent"]


class DeleteForwarding(Record):
    """Delete a VXLAN fdb entry."""

    device: str
    mac: str
    node: Address

    def command(self) -> list[str]:
        return ["bridge", "fdb", "delete", self.mac, "dev", self.device, "dst", str(self.node), "self"]


Operation = (
    AddVeth | AddBridge | DeleteLink | SetAlias | AddAltname | SetUp | SetMac | SetPromiscuous | SetHairpin
    | AddAddress | AddRoute | AddNeighbour | AddVxlan | DeleteRoute | DeleteNeighbour | AddForwarding | DeleteForwarding
    | TcOperation
)  # fmt: skip


def describe(operation: Operation, *, pod: bool = False) -> str:
    """The command that `operation` equals, quoted for a shell (`ip -n POD …` in a pod's namespace)."""
    words = operation.command()
    if pod:
        words = [words[0], "-n", "POD", *words[1:]]
    return " ".join(f"'{word}'" if " " in word else word for word in words)
