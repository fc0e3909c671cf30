"""A network of pods on this host: what its configuration means for the host, brought about and kept."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from podwire.cni.config import Configuration
from podwire.kernel.host import Host
from podwire.kernel.read import Link
from podwire.node.firewall import Masquerade, masquerade
from podwire.node.hostpart import HostPart, desired_part
from podwire.plan.operations import Network as AddressRange
from podwire.pod.wiring import PodAddress


class Network(Struct, frozen=True):
    """A configuration and what it means for the host; the same for every pod whose addresses podwire leases.

    `passing` are the ranges whose packets no firewall of the host may drop; empty where podwire is no gateway.
    """

    config: Configuration
    part: HostPart
    outbound: Masquerade | None
    passing: tuple[AddressRange, ...]


def network_of(config: Configuration, addresses: Sequence[PodAddress] = ()) -> Network:
    """What `config` means for the host; `addresses` are those that another IPAM plug-in gave."""
    pods = [one.subnet for group in config.range_sets for one in group.ranges]
    pods += [one.interface.network for one in addresses]
    outbound = None
    if config.masquerade and pods:
        inside = (*(config.cluster or pods), *config.masquerade_exceptions)
        outbound = masquerade(config.name, pods, inside, own_ranges=not config.ipam_type)
    passing = (config.cluster or tuple(pods)) if config.is_gateway or config.masquerade else ()
    return Network(config, desired_part(config, addresses), outbound, tuple(passing))


def ensure(host: Host, network: Network) -> tuple[Link, list[str]]:
    """Bring the host's part of a network about: its gateway device, and what was mended.

    Raises KernelRefusedError, NftablesError, OSError.
    """
    device, mended = host.ensure(network.part)
    if network.outbound or network.passing:
        firewall = host.shared.firewall
        mended += firewall.ensure(host.netfilter, network.config.name, network.outbound, network.passing)
    return device, mended
