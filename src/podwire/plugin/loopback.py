"""The loopback plug-in: raises `lo` in the pod, as containerd asks for every pod (`type: loopback`)."""

from __future__ import annotations

from ipaddress import ip_interface

from podwire.cni.errors import DIFFERENT, KERNEL_REFUSED, CniError
from podwire.cni.result import Result, ResultAddress, ResultInterface
from podwire.datapath.wiring import LOOPBACK
from podwire.netlink import read
from podwire.netlink.apply import KernelRefusedError, apply
from podwire.netlink.operations import SetUp
from podwire.netlink.socket import NetlinkError
from podwire.plugin.host import Host
from podwire.plugin.invocation import Call, check_namespace

LOOPBACK_MAC = "00:00:00:00:00:00"
SHOWN = (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))


def add(call: Call, host: Host) -> Result:
    """Raise `lo`; answers a previous result as it came, else `lo` with its addresses. Raises CniError."""
    check_namespace(call, host)
    try:
        with host.open_pod(call.netns) as pod:
            apply(pod, [SetUp(LOOPBACK)], pod=True)
            index = pod.index(LOOPBACK)
            there = [*read.addresses(pod, index, 4), *read.addresses(pod, index, 6)]
    except KernelRefusedError as refused:
        raise CniError(KERNEL_REFUSED, str(refused)) from None
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"the loopback cannot be read: {refused.strerror}") from None
    if call.config.prev_result:
        return call.config.prev_result
    return Result(
        [ResultInterface(LOOPBACK, LOOPBACK_MAC, call.request.netns)],
        [ResultAddress(one, None, 0) for one in SHOWN if one in there],
    )


def check(call: Call, host: Host) -> None:
    """`lo` must be up; raises CniError 104."""
    check_namespace(call, host)
    with host.open_pod(call.netns) as pod:
        link = read.link(pod, LOOPBACK)
    if link is None or not link.up:
        raise CniError(DIFFERENT, "the container's loopback is down: raise it with `ip link set lo up` inside")
