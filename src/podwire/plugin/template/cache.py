"""The ADD templates of a process: found by configuration and interface name, learned from successful calls."""

from __future__ import annotations

from contextlib import suppress

from podwire.cni.request import Request
from podwire.ipam.allocator import Allocator
from podwire.netlink.host import Host
from podwire.nft.apply import Firewall
from podwire.plugin.network import Networks, PodNetwork
from podwire.plugin.template.add import AddTemplate, is_common
from podwire.plugin.template.derive import TemplateError
from podwire.plugin.timings import Timings

MOST_TEMPLATES = 32
"""The runtime chooses interface names, so their number must not decide how much memory the agent uses."""


class AddTemplates:
    """The templates of the networks' current generation. Any thread may use them."""

    def __init__(self, networks: Networks, allocator: Allocator) -> None:
        self._networks = networks
        self._allocator = allocator
        self._known: dict[tuple[int, bytes, str], AddTemplate] = {}

    def add(self, request: Request, stdin: bytes, netns: int, host: Host, timings: Timings) -> bytes | None:
        """The answer of an ADD by a template; None if there is none for it, or if the general ADD must run.

        Raises CniError as the general ADD does for old ranges and for a wrong CNI_NETNS.
        """
        template = self._known.get((self._networks.generation, stdin, request.ifname))
        if template is None:
            return None
        self._networks.check_current(template.config)
        return template.add(request, netns, host, timings)

    def learn(self, stdin: bytes, ifname: str, network: PodNetwork, host: Host, firewall: Firewall) -> None:
        """A general ADD succeeded: the next ADD with the same configuration and interface name may use a template.

        Raises as `Networks.gateway_device`.
        """
        generation = self._networks.generation
        known = self._known.get((generation, stdin, ifname))
        if known is not None:
            known.forget_taken()
        elif is_common(network.config):
            gateway = self._networks.gateway_device(host, firewall, network)
            with suppress(TemplateError, ValueError):
                ipv6 = host.namespace.ipv6
                template = AddTemplate(network.config, ifname, gateway, self._allocator, ipv6=ipv6)
                self._known = self._current(generation) | {(generation, stdin, ifname): template}

    def _current(self, generation: int) -> dict[tuple[int, bytes, str], AddTemplate]:
        """The templates of this generation; none if there is no room for another one."""
        current = {key: template for key, template in self._known.items() if key[0] == generation}
        return current if len(current) < MOST_TEMPLATES else {}
