# SPDX-License-Identifier: Apache-2.0
"""Validation of CNI_NETNS, the sandbox of a call."""

from __future__ import annotations

from podwire.cni.errors import INVALID_ENVIRONMENT, INVALID_NAMESPACE, UNKNOWN_CONTAINER, CniError
from podwire.cni.request import Request
from podwire.netlink import namespaces
from podwire.netlink.host import Host
from podwire.text import shown


def check_sandbox(request: Request, netns: int, host: Host) -> None:
    """CNI_NETNS, open as `netns`, must be a network namespace and not the host's; raises CniError 3, 4 or 8."""
    if netns < 0:
        code, reason = UNKNOWN_CONTAINER, "cannot be opened: the container is gone, or the path is wrong"
    elif not namespaces.is_network_namespace(netns):
        code, reason = INVALID_ENVIRONMENT, "is not a network namespace: name a file such as /run/netns/NAME"
    elif host.is_own_namespace(netns) and not request.namespace_override:
        code, reason = INVALID_NAMESPACE, "is the host's own network namespace: give the container one of its own"
    else:
        return
    raise CniError(code, f"CNI_NETNS={shown(request.netns)} {reason}")
