"""ADD for a pod that is like the others of its network: what it shares with them was done once (ADR 11).

It either wires the pod or leaves nothing behind, and then the ordinary way (`add.py`) begins anew: that one knows
every special case, and can say what is wrong. So nothing is explained here, and nothing mended.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop
from collections.abc import Mapping
from contextlib import suppress

from podwire.attachments.altnames import leased_addresses
from podwire.attachments.identity import FIELD_BYTES, alias_of, mac_of_address, names
from podwire.cni.errors import CniError
from podwire.cni.request import is_identifier, parse_args
from podwire.datapath.wiring import PodAddress, wants_addrgenmode_none
from podwire.ipam.ranges import RangeSet
from podwire.netlink import read
from podwire.netlink.message import padded
from podwire.netlink.namespaces import netlink_inside
from podwire.netlink.rtnl import ALIAS_LENGTHS
from podwire.plugin.config import Configuration
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call, now
from podwire.plugin.template import samples as imaginary
from podwire.plugin.template.derive import TemplateError
from podwire.plugin.template.samples import Formats, Shape

FAMILIES = {4: (AF_INET, 4), 6: (AF_INET6, 16)}
"""By IP version: what inet_ntop(3) wants, and the bytes of an address."""

MOST_PATHS = 32
MOST_SKIPPED_BITS = 10
USUAL_LENGTHS = (ALIAS_LENGTHS[1], ALIAS_LENGTHS[0])
EMBEDDED_IPV4_END = 1 << 48
"""IPv6 addresses below it are spelled with dots by some."""


def learn(call: Call, host: Host) -> None:
    """The ordinary way led to its end: the next pod with this configuration may go the short one."""
    paths, key = call.networks.paths, (call.stdin, call.request.ifname)
    known = paths.get(key)
    if known is not None:
        known.look_again()
    elif is_common(call.config):
        if len(paths) >= MOST_PATHS:  # interfaces' names are the runtime's choice: nobody may fill the agent's memory
            paths.clear()
        with suppress(TemplateError, ValueError):
            paths[key] = AddTemplate(call, host)


def is_common(config: Configuration) -> bool:
    """Is there nothing about a single pod in the configuration, and nothing that takes more than netlink?"""
    single = config.requested or config.requested_mac or config.mac or config.prev_result
    more = config.ipam_type or config.port_mappings or config.bandwidth
    return bool(config.range_sets) and not single and not more and all(map(_is_plain, config.range_sets))


class AddTemplate:
    """The short way for one configuration and one name of the pods' interface. Any thread may take it."""

    def __init__(self, call: Call, host: Host) -> None:
        """`call` was an ADD that went well. Raises TemplateError and ValueError where there can be no formats."""
        config, shared = call.config, host.shared
        self.config = config
        self._ifname = call.request.ifname
        self._gateway = call.networks.gateway_device(host, call.network)
        self._ranges = [(shared.cursor(one), one.ranges[0].last, *FAMILIES[one.version]) for one in config.range_sets]
        self._mac_from = min(range(len(self._ranges)), key=lambda place: config.range_sets[place].version)
        self._quiet6 = wants_addrgenmode_none(config, ipv6=shared.ipv6)
        self._formats: dict[tuple[int, int], Formats] = {}
        self._make_formats(*USUAL_LENGTHS)
        self._looked = False
        self._failures = self._skip = 0

    def look_again(self) -> None:
        """The addresses that others hold are read anew before the next lease."""
        self._looked = False

    def add(self, environment: Mapping[str, str], netns: int, host: Host) -> bytes | None:
        """The answer of an ADD that succeeded; None, with nothing left behind: the ordinary way has to be gone."""
        if self._skip:
            self._skip -= 1
            return None
        container_id, sandbox = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_NETNS", "")
        if not sandbox or netns < 0 or len(container_id) > FIELD_BYTES or not is_identifier(container_id):
            return None
        try:
            args = parse_args(environment.get("CNI_ARGS", ""))
        except CniError:
            return None
        if args.get("IP") or args.get("MAC") or host.is_own_namespace(netns):
            return None
        pod = f"{args.get('K8S_POD_NAMESPACE', '')}/{args.get('K8S_POD_NAME', '')}"
        answer = self._wire(container_id, pod, sandbox, netns, host)
        if answer is None:  # pods may all be of a kind that nothing here knows: then it is tried ever more seldom
            host.join_phases("fastpath")
            self._skip = (1 << min(self._failures, MOST_SKIPPED_BITS)) - 1
            self._failures += 1
        else:
            self._failures = 0
        return answer

    def _wire(self, container_id: str, pod: str, sandbox: str, netns: int, host: Host) -> bytes | None:
        leases = self._lease(host)
        if leases is None:
            return None
        network, gateway, shared = self.config.name, self._gateway, host.shared
        device, host_mac = names(network, container_id, self._ifname)
        index = shared.next_index(host.socket)
        noted = shared.note_leases(gateway.name, gateway.alias, self.config.range_sets, [text for text, _ in leases])
        note = padded(noted, *ALIAS_LENGTHS) if noted else b""
        alias = padded(alias_of(network, container_id, self._ifname, now(), pod), *ALIAS_LENGTHS)
        mac = mac_of_address(leases[self._mac_from][1])
        values = imaginary.values(device, host_mac, mac, index, netns, gateway, alias, note, sandbox, leases)
        formats = self._formats.get((len(alias), len(note))) or self._make_formats(len(alias), len(note))
        host.end_phase("parse")
        try:
            refused = formats.host.send(host.socket, values)
            host.end_phase("lease")
            if not refused:
                inside = netlink_inside(netns, host.home, without_extended_ack=True)
                refused = formats.pod.send(inside, values)
                inside.close()
                host.pod_seconds += inside.busy_seconds
                host.end_phase("pod")
            if not refused:
                return formats.answer.fill(values)
        except OSError:
            pass
        except BaseException:
            host.delete_index(index)
            raise
        host.delete_index(index)
        self._give_back(leases, host)
        return None

    def _lease(self, host: Host) -> list[tuple[str, bytes]] | None:
        """The next addresses as (text, packed); None where a range has come to its end."""
        if not self._looked:
            self._look(host)
        found, moves = [], []
        with host.shared.lock:
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

    def _give_back(self, leases: list[tuple[str, bytes]], host: Host) -> None:
        """The ordinary way tries them again, unless others have gone on already: none is left out of a round."""
        with host.shared.lock:
            for (cursor, *_), (_, packed) in zip(self._ranges, leases, strict=True):
                value = int.from_bytes(packed, "big")
                if cursor.last == value:
                    cursor.last = value - 1

    def _look(self, host: Host) -> None:
        """See which addresses are held: to try each of them in turn would cost a device each time."""
        held = leased_addresses(name for link in read.links(host.socket) for name in link.altnames)
        self._looked = True
        for (cursor, *_), group in zip(self._ranges, self.config.range_sets, strict=True):
            of_family = {int(one) for one in held if one.version == group.version}
            cursor.taken = frozenset(of_family | {int(group.ranges[0].gateway)})

    def _make_formats(self, alias_bytes: int, note_bytes: int) -> Formats:
        ranges = [
            PodAddress(group.address(one.first), one.subnet.prefixlen, one.gateway)
            for group in self.config.range_sets
            for one in group.ranges
        ]
        made = imaginary.formats(Shape(self.config, self._ifname, tuple(ranges), alias_bytes, note_bytes, self._quiet6))
        self._formats[alias_bytes, note_bytes] = made
        return made


def _is_plain(group: RangeSet) -> bool:
    return len(group.ranges) == 1 and (group.version == 4 or group.ranges[0].first >= EMBEDDED_IPV4_END)
