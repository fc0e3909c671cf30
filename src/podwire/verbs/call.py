"""A call as a verb sees it, and what every verb may need from it."""

from __future__ import annotations

from podwire.cni.config import Configuration
from podwire.cni.errors import INVALID_ENVIRONMENT, INVALID_NAMESPACE, UNKNOWN_CONTAINER, CniError, shown
from podwire.cni.request import Request
from podwire.kernel import namespace
from podwire.kernel.host import Host
from podwire.plan.record import Record
from podwire.pod.identity import Attachment
from podwire.verbs.network import Network, Networks


class Call(Record):
    """One call: its environment, its configuration, its standard input as it came, the pod's namespace.

    `netns` is an open descriptor of CNI_NETNS, -1 where the runtime named none or it could not be opened.
    """

    request: Request
    network: Network
    networks: Networks
    stdin: bytes
    netns: int
    attachment: Attachment

    @property
    def config(self) -> Configuration:
        return self.network.config


def check_namespace(call: Call, host: Host) -> None:
    """CNI_NETNS must be a network namespace, and not the host's own; raises CniError 3, 4 or 8."""
    path = shown(call.request.netns)
    if call.netns < 0:
        raise CniError(
            UNKNOWN_CONTAINER,
            f"CNI_NETNS={path} cannot be opened: the container is gone, or the path is wrong",
        )
    if not namespace.is_network_namespace(call.netns):
        raise CniError(
            INVALID_ENVIRONMENT, f"CNI_NETNS={path} is not a network namespace: name a file such as /run/netns/NAME"
        )
    if not call.request.namespace_override and host.is_own_namespace(call.netns):
        raise CniError(
            INVALID_NAMESPACE,
            f"CNI_NETNS={path} is the host's own network namespace: give the container one of its own",
        )
