# SPDX-License-Identifier: Apache-2.0
"""A pod network on this host: what a network configuration means for the host, put in place and remembered."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.cni.errors import TRY_AGAIN, CniError
from podwire.datapath.gateway import Gateway, ensure_gateway
from podwire.ip import Network
from podwire.ipam.ranges import PodAddress, RangeSet
from podwire.netlink.host import Host
from podwire.netlink.read import Link
from podwire.nft.apply import Firewall
from podwire.nft.masquerade import Masquerade, desired_masquerade
from podwire.plugin.config import Configuration
from podwire.record import Record


class PodNetwork(Record):
    """A configuration and what it means for the host; the same for every pod whose addresses podwire leases.

    No firewall of the host may drop packets of the ranges `forwarded`; empty if podwire is no gateway.
    """

    config: Configuration
    gateway: Gateway
    masquerade: Masquerade | None
    forwarded: tuple[Network, ...]


def pod_network(config: Configuration, addresses: Sequence[PodAddress] = ()) -> PodNetwork:
    """What `config` means for the host; `addresses` are those that another IPAM plugin gave."""
    ranges = [item for range_set in config.range_sets for item in range_set.ranges]
    pods = [*(item.subnet for item in ranges), *(address.network for address in addresses)]
    gateways = [(item.gateway, item.subnet.prefixlen) for item in ranges]
    gateways += [(address.gateway, address.prefix) for address in addresses if address.gateway is not None]
    rules = None
    if config.masquerade and pods:
        inside = (*(config.cluster or pods), *config.masquerade_exceptions)
        rules = desired_masquerade(config.name, pods, inside, own_ranges=not config.ipam_type)
    forwarded = (config.cluster or tuple(pods)) if config.is_gateway or config.masquerade else ()
    gateway = config.datapath.gateway(gateways, is_gateway=config.is_gateway)
    return PodNetwork(config, gateway, rules, tuple(forwarded))


class Networks:
    """The pod networks that this process knows, and the gateway devices that are in place.

    With `reconciled` a reconciler keeps them in place, so calls rely on it; else every call looks for itself.
    `generation` grows whenever something that was derived from the networks may be wrong.
    """

    def __init__(self, *, reconciled: bool = False) -> None:
        self.reconciled = reconciled
        self.generation = 0
        self._known: dict[object, PodNetwork] = {}
        self._ready: dict[object, tuple[PodNetwork, Link]] = {}
        self._replaced: set[tuple[str, tuple[RangeSet, ...]]] = set()

    def remember(self, network: PodNetwork, instead_of: PodNetwork | None = None) -> None:
        """Add a network to the known ones, in place of another one."""
        if instead_of is not None:
            self._known.pop(_key(instead_of), None)
            self._replaced.add((instead_of.config.name, instead_of.config.range_sets))
        self._known[_key(network)] = network
        self._replaced.discard((network.config.name, network.config.range_sets))
        self.generation += 1

    def check_current(self, config: Configuration) -> None:
        """Raises CniError 11 for ranges that this node had before: they may be another node's now."""
        if self._replaced and (config.name, config.range_sets) in self._replaced:
            ranges = ", ".join(map(str, config.range_sets))
            reason = f"network {config.name} has other ranges than {ranges} on this node by now"
            raise CniError(TRY_AGAIN, f"{reason}: try again, the runtime's configuration has been written anew")

    def all(self) -> list[PodNetwork]:
        return list(self._known.values())

    def gateway_device(self, host: Host, firewall: Firewall, network: PodNetwork) -> Link:
        """The network's gateway device, with everything in place. Raises as `ensure` does."""
        key = _key(network)
        ready = self._ready.get(key)
        if ready is not None and (ready[0] is network or _on_host(ready[0]) == _on_host(network)):
            return ready[1]
        device = ensure(host, firewall, network)
        self._known[key] = network
        if self.reconciled:
            self._ready[key] = network, device
        return device

    def invalidate(self) -> None:
        """The kernel refused something unexpectedly: the next call looks for itself."""
        self._ready.clear()
        self.generation += 1


def ensure(host: Host, firewall: Firewall, network: PodNetwork) -> Link:
    """Put a network in place; its gateway device. Raises KernelRefusedError, NftablesError, OSError."""
    device = ensure_gateway(host.socket, network.gateway)
    if network.masquerade or network.forwarded:
        firewall.ensure(host.netfilter, network.config.name, network.masquerade, network.forwarded)
    return device


def _on_host(network: PodNetwork) -> object:
    """Two configurations that are equal in this need the same of the host."""
    return network.gateway, network.masquerade, network.forwarded


def _key(network: PodNetwork) -> object:
    """Two configurations with one key write the same nft table, so the last one is applied."""
    return network.config.name, network.masquerade.table if network.masquerade else ""
