"""DEL: unwire a pod. What hangs on the host's veth goes with it; limits of its rates and host ports are behind it."""

from __future__ import annotations

from podwire.cni.errors import refusal_of_kernel
from podwire.plugin import capabilities
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call


def delete(call: Call, host: Host) -> None:
    """Remove the attachment; one that never was, or is gone, is a success. Raises CniError.

    The device is known by (network, container ID, interface name), so neither the namespace nor a previous
    result is needed.
    """
    device = call.attachment.device
    try:
        had_ports = capabilities.has_ports(call, host)
        capabilities.delete_egress(call, host)
        host.end_phase("limits")
        host.delete(device)
        host.end_phase("device")
        if had_ports:
            capabilities.withdraw(host)
            host.end_phase("ports")
    except OSError as refused:
        raise refusal_of_kernel(f"the kernel refused `ip link delete {device}`", refused) from None
    finally:
        if call.config.ipam_type:
            from podwire.ipam import delegate  # noqa: PLC0415  others do not wait for it

            delegate.run(call, "DEL")
            host.end_phase("ipam")
