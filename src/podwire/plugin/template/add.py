# SPDX-License-Identifier: Apache-2.0
"""ADD for a pod that is like the others of its network, with messages that are encoded beforehand.

It either wires the pod or leaves nothing behind. Then the general ADD (`plugin/add.py`), which knows every special
case and says what is wrong, starts from the beginning.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from contextlib import suppress

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
from podwire.netlink.rtnl import ALIAS_LENGTHS
from podwire.nft.apply import Firewall
from podwire.plugin.config import Configuration
from podwire.plugin.network import Networks, PodNetwork
from podwire.plugin.sandbox import check_sandbox
from podwire.plugin.template import samples
from podwire.plugin.template.derive import TemplateError
from podwire.plugin.template.samples import PodTemplates, Shape
from podwire.plugin.timings import Timings

# By IP version: the family for inet_ntop(3), and the bytes of an address.
FAMILIES = {4: (AF_INET, 4), 6: (AF_INET6, 16)}
MOST_SKIPPED_BITS = 10
USUAL_LENGTHS = (ALIAS_LENGTHS[1], ALIAS_LENGTHS[0])
EMBEDDED_IPV4_END = 1 << 48  # some libraries write IPv6 addresses below it with an IPv4 address at the end
# The runtime chooses interface names, so their number must not decide how much memory the agent uses.
MOST_TEMPLATES = 32


def is_common(config: Configuration) -> bool:
    """Does the configuration ask for nothing about a single pod, and for nothing but netlink messages?"""
    single = config.requested or config.requested_mac or config.mac or config.prev_result
    more = config.ipam_type or config.port_mappings or config.bandwidth
    return bool(config.range_sets) and not single and not more and all(map(_is_plain, config.range_sets))


def _is_plain(range_set: RangeSet) -> bool:
    return len(range_set.ranges) == 1 and (range_set.version == 4 or range_set.ranges[0].first >= EMBEDDED_IPV4_END)


class AddTemplate:
    """The template for one configuration and one name of the pods' interface. Any thread may use it."""

    def __init__(
        self, config: Configuration, ifname: str, gateway: read.Link, allocator: Allocator, *, ipv6: bool
    ) -> None:
        """Raises TemplateError and ValueError if no template can be derived."""
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
        self._knows_taken = False

    def add(self, request: Request, netns: int, host: Host, timings: Timings) -> bytes | None:
        """The answer of an ADD; None, with nothing left behind, if the general ADD must run. Raises CniError."""
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
        """Each attempt with a taken address would cost the creation of a device."""
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


class AddTemplates:
    """The templates of the networks' current generation. Any thread may use them."""

    def __init__(self, networks: Networks, allocator: Allocator) -> None:
        self._networks = networks
        self._allocator = allocator
        self._known: dict[tuple[int, bytes, str], AddTemplate] = {}

    def add(self, request: Request, stdin: bytes, netns: int, host: Host, timings: Timings) -> bytes | None:
        """The answer of an ADD by a template; None if the general ADD must run. Raises CniError."""
        template = self._known.get((self._networks.generation, stdin, request.ifname))
        if template is None:
            return None
        self._networks.check_current(template.config)
        return template.add(request, netns, host, timings)

    def learn(self, stdin: bytes, ifname: str, network: PodNetwork, host: Host, firewall: Firewall) -> None:
        """A general ADD succeeded: the next one may use a template. Raises as `Networks.gateway_device`."""
        generation = self._networks.generation
        known = self._known.get((generation, stdin, ifname))
        if known is not None:
            known.forget_taken()
        elif is_common(network.config):
            gateway = self._networks.gateway_device(host, firewall, network)
            with suppress(TemplateError, ValueError):
                ipv6 = host.namespace.ipv6
                template = AddTemplate(network.config, ifname, gateway, self._allocator, ipv6=ipv6)
                current = {key: known for key, known in self._known.items() if key[0] == generation}
                room = len(current) < MOST_TEMPLATES
                self._known = (current if room else {}) | {(generation, stdin, ifname): template}
