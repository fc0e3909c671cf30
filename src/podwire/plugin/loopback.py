# SPDX-License-Identifier: Apache-2.0
"""The loopback plugin (`type: loopback`): brings `lo` up in the pod, as containerd asks for every pod."""

from __future__ import annotations

from ipaddress import ip_interface

from podwire.cni import document
from podwire.cni.errors import DIFFERENT, KERNEL_REFUSED, CniError
from podwire.cni.result import Result, ResultAddress, ResultInterface, encode_result
from podwire.datapath.wiring import LOOPBACK
from podwire.netlink import read
from podwire.netlink.apply import KernelRefusedError, apply
from podwire.netlink.operations import SetUp
from podwire.netlink.socket import NetlinkError
from podwire.plugin.context import Invocation
from podwire.plugin.sandbox import check_sandbox

LOOPBACK_MAC = "00:00:00:00:00:00"
ADDRESSES = (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))


def add(invocation: Invocation) -> bytes:
    """Bring `lo` up; the answer is prevResult if there is one, else `lo` with its addresses. Raises CniError."""
    request, config = invocation.request, invocation.config
    check_sandbox(request, invocation.netns, invocation.host)
    try:
        with invocation.host.open_pod(invocation.netns) as pod:
            apply(pod, [SetUp(LOOPBACK)], pod=True)
            index = pod.index(LOOPBACK)
            actual = [*read.addresses(pod, index, 4), *read.addresses(pod, index, 6)]
    except KernelRefusedError as refused:
        raise CniError(KERNEL_REFUSED, str(refused)) from None
    except NetlinkError as refused:
        raise CniError(KERNEL_REFUSED, f"the loopback cannot be read: {refused.strerror}") from None
    result = config.prev_result or Result(
        [ResultInterface(LOOPBACK, LOOPBACK_MAC, request.netns)],
        [ResultAddress(address, None, 0) for address in ADDRESSES if address in actual],
    )
    return document.dump(encode_result(result, config.version))


def check(invocation: Invocation) -> None:
    """`lo` must be up; raises CniError 104."""
    check_sandbox(invocation.request, invocation.netns, invocation.host)
    with invocation.host.open_pod(invocation.netns) as pod:
        link = read.link(pod, LOOPBACK)
    if link is None or not link.up:
        raise CniError(DIFFERENT, "the container's loopback is down: bring it up with `ip link set lo up` inside")
