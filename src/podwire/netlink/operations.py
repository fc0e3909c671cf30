# SPDX-License-Identifier: Apache-2.0
"""An operation is one change of the kernel's configuration as plain data; `command` is the command that it equals.

Operations refer to devices by name, not by index: they are computed before the devices exist.
"""

from __future__ import annotations

from podwire.ip import Address, Interface, Network
from podwire.netlink.tc_operations import TcOperation
from podwire.record import Record

PROTOCOL = 112
"""`rtm_protocol` of every route that podwire adds (rtnetlink(7)): `ip route show proto 112` lists them."""


def _options(**values: object) -> str:
    """` NAME VALUE` for each value that is set."""
    return "".join(f" {name} {value}" for name, value in values.items() if value is not None)


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
        host = _options(index=self.index or None, address=self.mac, mtu=self.mtu, master=self.master)
        pod = _options(index=self.peer_index or None, address=self.peer_mac, mtu=self.mtu)
        return f"ip link add {self.name}{host} type veth peer name {self.peer}{pod} netns POD".split()


class AddBridge(Record):
    """Create a bridge with a fixed MAC: without one, the MAC changes with the ports."""

    name: str
    mac: str
    mtu: int | None = None

    def command(self) -> list[str]:
        return f"ip link add {self.name} address {self.mac}{_options(mtu=self.mtu)} type bridge".split()


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
        options = f"id {self.vni} dstport {self.port} local {self.local} dev {self.underlay} nolearning"
        return f"ip link add {self.name} address {self.mac} mtu {self.mtu} type vxlan {options}".split()


class DeleteLink(Record):
    """Delete a device with its peer, altnames, addresses, routes and neighbours."""

    device: str

    def command(self) -> list[str]:
        return f"ip link delete {self.device}".split()


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
        return f"ip link property add dev {self.device} altname {self.altname}".split()


class SetUp(Record):
    """Bring a device up (`IFF_UP`)."""

    device: str

    def command(self) -> list[str]:
        return f"ip link set {self.device} up".split()


class SetMac(Record):
    """Change a device's MAC (`IFLA_ADDRESS`)."""

    device: str
    mac: str

    def command(self) -> list[str]:
        return f"ip link set {self.device} address {self.mac}".split()


class SetPromiscuous(Record):
    """Set a device's promiscuous mode (`IFF_PROMISC`)."""

    device: str

    def command(self) -> list[str]:
        return f"ip link set {self.device} promisc on".split()


class SetHairpin(Record):
    """Let a bridge port send a frame back to the port that it came from (`IFLA_BRPORT_MODE`)."""

    device: str

    def command(self) -> list[str]:
        return f"ip link set {self.device} type bridge_slave hairpin on".split()


class AddAddress(Record):
    """Add an address; IPv6 without duplicate address detection (`IFA_F_NODAD`): the lease makes it unique."""

    device: str
    address: Interface

    def command(self) -> list[str]:
        nodad = " nodad" if self.address.version == 6 else ""
        return f"ip address add {self.address} dev {self.device}{nodad}".split()


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
        to = f"{'replace' if self.replace else 'add'} {self.destination if self.destination.prefixlen else 'default'}"
        via = _options(via=self.via) + (" onlink" if self.onlink else "")
        link = " scope link" if self.link_scope and self.destination.version == 4 else ""
        extra = _options(mtu=self.mtu, advmss=self.advmss, metric=self.metric, table=self.table, scope=self.scope)
        extra += _options(src=self.source, proto=self.protocol)
        return f"{_ip(self.destination)} route {to}{via} dev {self.device}{link}{extra}".split()


class AddNeighbour(Record):
    """Add or replace a permanent neighbour entry (`NUD_PERMANENT`): no ARP or ND is needed for it."""

    device: str
    address: Address
    mac: str

    def command(self) -> list[str]:
        return f"ip neighbour replace {self.address} lladdr {self.mac} dev {self.device} nud permanent".split()


class DeleteRoute(Record):
    """Delete a route of the main table by its destination and device."""

    device: str
    destination: Network
    protocol: int = PROTOCOL

    def command(self) -> list[str]:
        to = self.destination
        return f"{_ip(to)} route delete {to} dev {self.device} proto {self.protocol}".split()


class DeleteNeighbour(Record):
    """Delete a neighbour entry."""

    device: str
    address: Address

    def command(self) -> list[str]:
        return f"ip neighbour delete {self.address} dev {self.device}".split()


class AddForwarding(Record):
    """Add or replace a VXLAN fdb entry: frames to a MAC go to a node's address (`NTF_SELF`, `NDA_DST`)."""

    device: str
    mac: str
    node: Address

    def command(self) -> list[str]:
        return f"bridge fdb replace {self.mac} dev {self.device} dst {self.node} self permanent".split()


class DeleteForwarding(Record):
    """Delete a VXLAN fdb entry."""

    device: str
    mac: str
    node: Address

    def command(self) -> list[str]:
        return f"bridge fdb delete {self.mac} dev {self.device} dst {self.node} self".split()


Operation = (
    AddVeth | AddBridge | DeleteLink | SetAlias | AddAltname | SetUp | SetMac | SetPromiscuous | SetHairpin
    | AddAddress | AddRoute | AddNeighbour | AddVxlan | DeleteRoute | DeleteNeighbour | AddForwarding | DeleteForwarding
    | TcOperation
)  # fmt: skip


def _ip(destination: Network) -> str:
    return "ip -6" if destination.version == 6 else "ip"


def describe(operation: Operation, *, pod: bool = False) -> str:
    """The command that `operation` equals, quoted for a shell (`ip -n POD …` in a pod's namespace)."""
    words = operation.command()
    if pod:
        words = [words[0], "-n", "POD", *words[1:]]
    return " ".join(f"'{word}'" if " " in word else word for word in words)
