# SPDX-License-Identifier: Apache-2.0
"""What a verb works with: one call (`Invocation`), and what all calls of one process share (`PluginState`)."""

from __future__ import annotations

from podwire.attachments.identity import Attachment
from podwire.cni.request import Request
from podwire.ipam.allocator import Allocator
from podwire.ipam.delegate import IpamPlugin
from podwire.netlink.host import Host, HostNamespace
from podwire.nft.apply import Firewall
from podwire.plugin.config import Configuration
from podwire.plugin.network import Networks, PodNetwork
from podwire.plugin.timings import Timings
from podwire.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podwire.plugin.template.add import AddTemplates


class PluginState:
    """What the calls of one process share, all of it caches.

    In the agent a reconciler keeps the networks in place (`reconciled`); one call has no threads and no ADD templates.
    """

    def __init__(self, *, reconciled: bool = False) -> None:
        self.namespace = HostNamespace(single_call=not reconciled)
        self.networks = Networks(reconciled=reconciled)
        self.allocator = Allocator()
        self.firewall = Firewall()
        self.templates: AddTemplates | None = None
        if reconciled:
            from podwire.plugin.template.add import AddTemplates  # noqa: PLC0415  1.5 ms, and one call has no use for it

            self.templates = AddTemplates(self.networks, self.allocator)


class Invocation(Record):
    """One call. `netns` is an open descriptor of CNI_NETNS; -1 if there is none or it could not be opened."""

    request: Request
    network: PodNetwork
    config: Configuration
    attachment: Attachment
    stdin: bytes
    netns: int
    host: Host
    state: PluginState
    timings: Timings

    @property
    def ipam_plugin(self) -> IpamPlugin | None:
        """The other IPAM plugin that gives the addresses; None if podwire leases them."""
        name = self.config.ipam_type
        return IpamPlugin(name, self.request, self.stdin) if name else None
