"""A network of pods on this host: what its configuration means for the host, brought about and kept."""

from __future__ import annotations

from collections.abc import Sequence

from podwire.cni.errors import TRY_AGAIN, CniError
from podwire.datapath.gateway import Gateway, desired_gateway
from podwire.datapath.wiring import PodAddress
from podwire.ip import Network as AddressRange
from podwire.ipam.ranges import RangeSet
from podwire.netlink.read import Link
from podwire.nft.masquerade import Masquerade, desired_masquerade
from podwire.plugin.config import Configuration
from podwire.plugin.host import Host
from podwire.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podwire.plugin.template.add import AddTemplate


class Network(Record):
    """A configuration and what it means for the host; the same for every pod whose addresses podwire leases.

    `passing` are the ranges whose packets no firewall of the host may drop; empty where podwire is no gateway.
    """

    config: Configuration
    part: Gateway
    outbound: Masquerade | None
    passing: tuple[AddressRange, ...]


def network_of(config: Configuration, addresses: Sequence[PodAddress] = ()) -> Network:
    """What `config` means for the host; `addresses` are those that another IPAM plug-in gave."""
    pods = [one.subnet for group in config.range_sets for one in group.ranges]
    pods += [one.network for one in addresses]
    outbound = None
    if config.masquerade and pods:
        inside = (*(config.cluster or pods), *config.masquerade_exceptions)
        outbound = desired_masquerade(config.name, pods, inside, own_ranges=not config.ipam_type)
    passing = (config.cluster or tuple(pods)) if config.is_gateway or config.masquerade else ()
    return Network(config, desired_gateway(config, addresses), outbound, tuple(passing))


class Networks:
    """The networks that this process knows, and the gateway devices of those that somebody keeps in order.

    Where nobody does (`kept` is False: a process for one call), every call looks for itself. `paths` are short ways,
    by configuration and interface name.
    """

    def __init__(self, *, kept: bool = False) -> None:
        self.kept = kept
        self._known: dict[object, Network] = {}
        self._ready: dict[object, tuple[Network, Link]] = {}
        self.paths: dict[tuple[bytes, str], AddTemplate] = {}
        self._past: set[tuple[str, tuple[RangeSet, ...]]] = set()

    def remember(self, network: Network, instead_of: Network | None = None) -> None:
        """A network to be looked after from now on, in the place of what was known by its name."""
        if instead_of is not None:
            self._known.pop(_key(instead_of), None)
            self._past.add((instead_of.config.name, instead_of.config.range_sets))
        self.paths.clear()
        self._known[_key(network)] = network
        self._past.discard((network.config.name, network.config.range_sets))

    def check_current(self, config: Configuration) -> None:
        """Raises CniError 11 for ranges that this node had before: they may be another node's by now."""
        if self._past and (config.name, config.range_sets) in self._past:
            ranges = ", ".join(str(one) for one in config.range_sets)
            words = f"network {config.name} has other ranges than {ranges} on this node by now"
            raise CniError(TRY_AGAIN, f"{words}: try again, the runtime's configuration has been written anew")

    def all(self) -> list[Network]:
        return list(self._known.values())

    def gateway_device(self, host: Host, network: Network) -> Link:
        """The network's gateway device, everything being in place. Raises as `ensure` does."""
        key = _key(network)
        ready = self._ready.get(key)
        if ready is not None and (ready[0] is network or _on_host(ready[0]) == _on_host(network)):
            return ready[1]
        device, _ = ensure(host, network)
        self._known[key] = network
        if self.kept:
            self._ready[key] = network, device
        return device

    def forget_ready(self) -> None:
        """Something failed that should not: the next call looks for itself."""
        self._ready.clear()
        self.paths.clear()


def _on_host(network: Network) -> object:
    """What two configurations must share to need the same of the host."""
    return network.part, network.outbound, network.passing


def _key(network: Network) -> object:
    """Two configurations with one key cannot both be in force: they write one table. The last one counts."""
    return network.config.name, network.outbound.table if network.outbound else ""


def ensure(host: Host, network: Network) -> tuple[Link, list[str]]:
    """Bring the host's part of a network about: its gateway device, and what was mended.

    Raises KernelRefusedError, NftablesError, OSError.
    """
    device, mended = host.ensure(network.part)
    if network.outbound or network.passing:
        firewall = host.shared.firewall
        mended += firewall.ensure(host.netfilter, network.config.name, network.outbound, network.passing)
    return device, mended
