"""A call as a verb sees it, and what every verb may need from it."""

from __future__ import annotations

import time

from podwire.attachments.identity import Attachment
from podwire.cni.errors import (
    INVALID_ENVIRONMENT,
    INVALID_NAMESPACE,
    UNKNOWN_CONTAINER,
    CniError,
)
from podwire.cni.request import Request
from podwire.netlink import namespaces as namespace
from podwire.plugin.config import Configuration
from podwire.plugin.host import Host
from podwire.plugin.network import Network, Networks
from podwire.record import Record
from podwire.text import shown


class Call(Record):
    """One call: its environment, its network and that one's configuration, its standard input as it came.

    `netns` is an open descriptor of CNI_NETNS, -1 where the runtime named none or it could not be opened.
    """

    request: Request
    network: Network
    config: Configuration
    networks: Networks
    stdin: bytes
    netns: int
    attachment: Attachment


def check_namespace(call: Call, host: Host) -> None:
    """CNI_NETNS must be a network namespace, and not the host's own; raises CniError 3, 4 or 8."""
    if call.netns < 0:
        code, what = UNKNOWN_CONTAINER, "cannot be opened: the container is gone, or the path is wrong"
    elif not namespace.is_network_namespace(call.netns):
        code, what = INVALID_ENVIRONMENT, "is not a network namespace: name a file such as /run/netns/NAME"
    elif host.is_own_namespace(call.netns) and not call.request.namespace_override:
        code, what = INVALID_NAMESPACE, "is the host's own network namespace: give the container one of its own"
    else:
        return
    raise CniError(code, f"CNI_NETNS={shown(call.request.netns)} {what}")


_clock = (0, "")


def now() -> str:
    """The time in ISO 8601; its text is made once a second."""
    global _clock  # noqa: PLW0603  threads put the same text there
    second, text = _clock
    current = int(time.time())
    if current != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(current))
        _clock = current, text
    return text
