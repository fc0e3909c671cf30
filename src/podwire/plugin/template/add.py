"""The ADD template of one network: ADD for a pod that is like the others, with messages that are encoded beforehand.

It either wires the pod or leaves nothing behind; then the general ADD (`plugin/add.py`) starts from the beginning. The
general ADD knows every special case and says what is wrong, so nothing is explained or repaired here.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop

from podwire.attachments.altnames import leased_addresses
from podwire.attachments.identity import FIELD_BYTES, alias_of, current_time, mac_of_address, names
from podwire.cni.request import Request
from podwire.datapath.wiring import wants_addrgenmode_none
from podwire.ipam.allocator import Allocator
from podwire.ipam.ranges import PodAddress, RangeSet
from podwire.netlink import read
from podwire.netlink.host import Host
from podwire.netlink.message import padded
from podwire.netlink.namespaces import netlink_inside
from podwire.netlink.read import Link
from podwire.netlink.rtnl import ALIAS_LENGTHS
from podwire.plugin.config import Configuration
from podwire.plugin.sandbox import check_sandbox
from podwire.plugin.template import samples
from podwire.plugin.template.samples import PodTemplates, Shape
from podwire.plugin.timings import Timings

FAMILIES = {4: (AF_INET, 4), 6: (AF_INET6, 16)}
"""By IP version: the family for inet_ntop(3), and the bytes of an address."""

MOST_SKIPPED_BITS = 10
USUAL_LENGTHS = (ALIAS_LENGTHS[1], ALIAS_LENGTHS[0])
EMBEDDED_IPV4_END = 1 << 48
"""Some libraries write IPv6 addresses below it with an IPv4 address at the end."""


def is_common(config: Configuration) -> bool:
    """Does the configuration ask for nothing about a single pod, and for nothing but netlink messages?"""
    single = config.requested or config.requested_mac or config.mac or config.prev_result
    more = config.ipam_type or config.port_mappings or config.bandwidth
    return bool(config.range_sets) and not single and not more and all(map(_is_plain, config.range_sets))


def _is_plain(range_set: RangeSet) -> bool:
    return len(range_set.ranges) == 1 and (range_set.version == 4 or range_set.ranges[0].first >= EMBEDDED_IPV4_END)


class AddTemplate:
    """The template for one configuration and one name of the pods' interface. Any thread may use it."""

    def __init__(self, config: Configuration, ifname: str, gateway: Link, allocator: Allocator, *, ipv6: bool) -> None:
        """`ipv6`: the kernel has IPv6. Raises TemplateError and ValueError if no template can be derived."""
        self.config = config
        self._ifname = ifname
        self._gateway = gateway
        self._allocator = allocator
        self._ranges = [
            (allocator.cursor(group), group.ranges[0].last, *FAMILIES[group.version]) for group in config.range_sets
        ]
        self._mac_from = min(range(len(self._ranges)), key=lambda place: config.range_sets[place].version)
        self._addrgenmode_none = wants_addrgenmode_none(config.datapath, ipv6=ipv6)
        self._templates: dict[tuple[int, int], PodTemplates] = {}
        self._derive(*USUAL_LENGTHS)
        self._knows_taken = False
        self._failures = self._skip = 0

    def forget_taken(self) -> None:
        """Read again which addresses are in use before the next lease."""
        self._knows_taken = False

    def add(self, request: Request, netns: int, host: Host, timings: Timings) -> bytes | None:
        """The answer of a successful ADD; None, with nothing left behind, if the general ADD must run.

        Raises CniError as the general ADD does for a wrong CNI_NETNS.
        """
        if self._skip:
            self._skip -= 1
            return None
        args = request.args
        if len(request.container_id) > FIELD_BYTES or args.get("IP") or args.get("MAC") or request.namespace_override:
            return None
        check_sandbox(request, netns, host)
        answer = self._wire(request, netns, host, timings)
        if answer is None:  # perhaps no pod of this network can use the template: then it is tried less and less
            timings.merge("template")
            self._skip = (1 << min(self._failures, MOST_SKIPPED_BITS)) - 1
            self._failures += 1
        else:
            self._failures = 0
        return answer

    def _wire(self, request: Request, netns: int, host: Host, timings: Timings) -> bytes | None:
        leases = self._lease(host)
        if leases is None:
            return None
        network, container_id, gateway = self.config.name, request.container_id, self._gateway
        device, host_mac = names(network, container_id, self._ifname)
        index = host.namespace.allocate_index(host.socket)
        leased = [text for text, _ in leases]
        noted = self._allocator.note_leases(gateway.name, gateway.alias, self.config.range_sets, leased)
        note = padded(noted, *ALIAS_LENGTHS) if noted else b""
        alias = padded(alias_of(network, container_id, self._ifname, current_time(), request.pod), *ALIAS_LENGTHS)
        mac = mac_of_address(leases[self._mac_from][1])
        values = samples.values(device, host_mac, mac, index, netns, gateway, alias, note, request.netns, leases)
        templates = self._templates.get((len(alias), len(note))) or self._derive(len(alias), len(note))
        timings.end("parse")
        try:
            refused = templates.host.send(host.socket, values)
            timings.end("lease")
            if not refused:
                inside = netlink_inside(netns, host.namespace.descriptor, without_extended_ack=True)
                refused = templates.pod.send(inside, values)
                inside.close()
                host.pod_seconds += inside.busy_seconds
                timings.end("pod")
            if not refused:
                return templates.answer.fill(values)
        except OSError:
            pass
        except BaseException:
            host.delete_index(index)
            raise
        host.delete_index(index)
        self._give_back(leases)
        return None

    def _lease(self, host: Host) -> list[tuple[str, bytes]] | None:
        """The next addresses as (text, packed); None at the end of a range."""
        if not self._knows_taken:
            self._read_taken(host)
        found, moves = [], []
        with self._allocator.lock:
            for cursor, end, family, size in self._ranges:
                if cursor.last is None:
                    return None
                value = cursor.last + 1
                while value in cursor.taken:
                    value += 1
                if value > end:
                    return None
                packed = value.to_bytes(size, "big")
                found.append((inet_ntop(family, packed), packed))
                moves.append((cursor, value))
            for cursor, value in moves:
                cursor.last = value
        return found

    def _give_back(self, leases: list[tuple[str, bytes]]) -> None:
        """Let the general ADD try the same addresses, unless other calls have leased later ones since."""
        with self._allocator.lock:
            for (cursor, *_), (_, packed) in zip(self._ranges, leases, strict=True):
                value = int.from_bytes(packed, "big")
                if cursor.last == value:
                    cursor.last = value - 1

    def _read_taken(self, host: Host) -> None:
        """Read which addresses are in use: each attempt with a taken address costs the creation of a device."""
        taken = leased_addresses(name for link in read.links(host.socket) for name in link.altnames)
        self._knows_taken = True
        for (cursor, *_), range_set in zip(self._ranges, self.config.range_sets, strict=True):
            of_family = {int(address) for address in taken if address.version == range_set.version}
            cursor.taken = frozenset(of_family | {int(range_set.ranges[0].gateway)})

    def _derive(self, alias_bytes: int, note_bytes: int) -> PodTemplates:
        ranges = tuple(
            PodAddress(range_set.address(item.first), item.subnet.prefixlen, item.gateway)
            for range_set in self.config.range_sets
            for item in range_set.ranges
        )
        shape = Shape(self.config, self._ifname, ranges, alias_bytes, note_bytes, self._addrgenmode_none)
        templates = self._templates[alias_bytes, note_bytes] = samples.templates(shape)
        return templates
