# SPDX-License-Identifier: Apache-2.0
"""Aliases at the kernel's limit: a pod starts whatever the lengths of its names are."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from podwire.attachments.identity import egress_device
from podwire.netlink import message as nl
from podwire.netlink.constants import IFLA_IFALIAS, RTM_NEWLINK
from podwire.netlink.host import INDEX_BLOCK, INDEX_BLOCKS
from podwire.netlink.socket import Netlink
from tests.cluster.access import in_namespace
from tests.namespaces.ground import GATEWAY_DEVICE, configuration, host_device
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Plugin

New = Callable[[], Namespace]

LIMIT_BYTES = 254
"""Without the NUL behind it: the kernel's dev_set_alias() refuses 256 bytes (IFALIASZ) with it."""

LOOPBACK_INDEX = 1

LENGTHS = range(LIMIT_BYTES - 2, LIMIT_BYTES + 4)
SINCE = "2026-01-02T03:04:05Z"
FIELD_BYTES = 100
FIRST_CHOSEN_INDEX = INDEX_BLOCKS[0] * INDEX_BLOCK
"""Only ADD templates choose indexes."""

USUAL = {"network": "net", "container": "c", "ifname": "eth0", "namespace": "shop", "pod": "cart"}


def lengthened(alias_bytes: int, field: str, **fixed: str) -> dict[str, str]:
    """Names whose alias has this length, because `field` is as long as it has to be."""
    names = USUAL | fixed
    missing = alias_bytes - len(alias(**names).encode())
    return names | {field: names[field] + "x" * missing}


def alias(network: str, container: str, ifname: str, namespace: str, pod: str) -> str:
    """The alias of an attachment, in full."""
    return f"podwire {network} {container} {ifname} {SINCE} {namespace}/{pod}"


FULL = "y" * FIELD_BYTES
SHORTENED = [
    USUAL | {"network": "n" * size, "container": "c" * size, "pod": "p" * 253, "namespace": "n" * 63}
    for size in (FIELD_BYTES - 1, FIELD_BYTES, FIELD_BYTES + 1, 253)
]
CASES = {
    "pod": [lengthened(length, "pod") for length in LENGTHS],
    "namespace": [lengthened(length, "namespace") for length in LENGTHS],
    "interface": [lengthened(length, "pod", ifname="häßlich") for length in LENGTHS],
    "network": [lengthened(length, "network", container=FULL[:92], pod="cart" + "0" * 22) for length in LENGTHS],
    "container": [lengthened(length, "container", network=FULL[:92], pod="cart" + "0" * 22) for length in LENGTHS],
    "all": [lengthened(length, "pod", network=FULL, container=FULL) for length in LENGTHS],
    "shortened": SHORTENED,
}
"""Aliases of every length around the limit, by every name that can be long."""


def test_the_kernel_takes_no_longer_alias(host: Host) -> None:
    """The limit in these tests is the kernel's own, for a string that ends in a NUL (`ip link` sends none)."""

    def refusals(size: int) -> int:
        with Netlink() as socket:
            alias = nl.text(IFLA_IFALIAS, "x" * size)
            return len(socket.batch([nl.message(RTM_NEWLINK, 0, nl.link_body(LOOPBACK_INDEX), alias)]))

    assert in_namespace(host, lambda: (refusals(LIMIT_BYTES), refusals(LIMIT_BYTES + 1))) == (0, 1)


@pytest.mark.parametrize("cases", CASES.values(), ids=CASES)
def test_an_alias_of_any_length_is_written(
    plugin: Plugin, host: Host, new_namespace: New, cases: list[dict[str, str]]
) -> None:
    """By the general ADD and by a template, with the names up to the limit."""
    for number, names in enumerate(cases):
        config = configuration("routed", (4,), name=names["network"], number=number)  # a new configuration: no template
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={names['namespace']};K8S_POD_NAME={names['pod']}"
        for fast in (False, len(names["container"]) <= FIELD_BYTES):
            pod = new_namespace()
            added = plugin.cni_add(config, names["container"], pod.path, names["ifname"], args)
            assert added.ok, (names, added)
            link = host.links()[host_device(added)]
            assert (link["ifindex"] >= FIRST_CHOSEN_INDEX) is fast
            if cases is not SHORTENED or len(names["container"]) <= FIELD_BYTES:
                wanted = alias(**names).encode()[:LIMIT_BYTES].decode()
                assert re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", SINCE, link["ifalias"]) == wanted
            assert plugin.cni_del(config, names["container"], pod.path, names["ifname"], args).ok


@pytest.mark.parametrize("length", (LIMIT_BYTES, LIMIT_BYTES + 1))
def test_a_pod_with_limited_rates_has_it_on_both_devices(wire: Plugin, host: Host, pod: Namespace, length: int) -> None:
    names = lengthened(length, "pod")
    rates = {"ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000}
    config = configuration("routed", (4,), runtimeConfig={"bandwidth": rates})
    args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE={names['namespace']};K8S_POD_NAME={names['pod']}"
    added = wire.cni_add(config, names["container"], pod.path, args=args)
    assert added.ok, added
    links = host.links()
    device = host_device(added)
    assert len(links[device]["ifalias"]) == min(length, LIMIT_BYTES)
    assert links[egress_device(device)]["ifalias"] == links[device]["ifalias"]


@pytest.mark.parametrize("letter", ["x", "ß"])
@pytest.mark.parametrize("mode", GATEWAY_DEVICE)
def test_the_gateways_alias_may_be_full(
    oneshot_plugin: Plugin, host: Host, new_namespace: New, mode: str, letter: str
) -> None:
    """With every length of what stands before the last leases; a pod starts all the same."""
    config, device = configuration(mode), GATEWAY_DEVICE[mode]
    assert oneshot_plugin.cni_add(config, "first", new_namespace().path).ok
    for size in range(180, 256, 5):
        head = "podwire made "
        head += letter * ((size - len(head)) // len(letter.encode()))
        host.ip("link", "set", device, "alias", head)
        added = oneshot_plugin.cni_add(config, f"c{size}", new_namespace().path)
        assert added.ok, added
