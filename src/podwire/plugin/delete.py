# SPDX-License-Identifier: Apache-2.0
"""DEL: remove an attachment. The kernel removes what belongs to the veth; an egress device and host ports are extra."""

from __future__ import annotations

from podwire.bandwidth import egress
from podwire.cni.errors import refusal_of_kernel
from podwire.hostports import table as hostports
from podwire.plugin.context import Invocation


def delete(invocation: Invocation) -> None:
    """Remove the attachment; success if it does not exist. Raises CniError."""
    host, timings, device = invocation.host, invocation.timings, invocation.attachment.device
    try:
        had_ports = hostports.may_have_ports(host, device, invocation.config.port_mappings)
        egress.delete_of(host, device)
        timings.end("limits")
        host.delete(device)
        timings.end("device")
        if had_ports:
            hostports.withdraw(host, invocation.state.firewall)
            timings.end("ports")
    except OSError as refused:
        raise refusal_of_kernel(f"the kernel refused `ip link delete {device}`", refused) from None
    finally:
        if plugin := invocation.ipam_plugin:
            plugin.run("DEL")
            timings.end("ipam")
