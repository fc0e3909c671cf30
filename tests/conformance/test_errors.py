# SPDX-License-Identifier: Apache-2.0
"""Lines 28 to 30 and trap 4: an error is one plain line for a person, with the code for the runtime."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.node import Node
from tests.conformance.subject import ABSENT

FULL_SUBNETS = {"ipv4": ("10.22.0.0/29", 5), "ipv6": ("fd00:22::/125", 6)}

# Each: what is wrong in the configuration, and the words that the message must hold.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"subnet": "nonsense"}, "nonsense"),
    ({"subnet": "10.22.0.0/33"}, "10.22.0.0/33"),
    ({"subnet": "10.22.0.5/24"}, "10.22.0.5/24"),
    ({"subnet": 3}, "subnet"),
    ({"subnet": "10.22.0.0/24,oops"}, "oops"),
    ({"subnet": "10.22.0.0/32"}, "10.22.0.0/32"),
    ({"subnet": ABSENT}, "subnet"),
    ({"network": "nonsense"}, "nonsense"),
    ({"network": {"a": 1}}, "network"),
    ({"mode": "vxlan"}, "vxlan"),
    ({"mode": 3}, "mode"),
    ({"bridge": "a/b"}, "a/b"),
    ({"bridge": "b" * 16}, "b" * 16),
    ({"bridge": 7}, "bridge"),
    ({"mtu": -1}, "-1"),
    ({"mtu": "big"}, "mtu"),
    ({"mtu": 1.5}, "mtu"),
    ({"mtu": True}, "mtu"),
    ({"mtu": 10**30}, "mtu"),
    ({"mtu": 70000}, "70000"),
    ({"mac": "nonsense"}, "nonsense"),
    ({"mac": "02:00:00:00:00"}, "02:00:00:00:00"),
    ({"mac": "01:00:5e:00:00:01"}, "01:00:5e:00:00:01"),
    ({"gateway": "nonsense"}, "nonsense"),
    ({"gateway": "203.0.113.1"}, "203.0.113.1"),
    ({"ipMasq": "yes"}, "ipMasq"),
    ({"hairpinMode": 1}, "hairpinMode"),
    ({"isGateway": "true"}, "isGateway"),
    ({"routes": {"dst": "10.0.0.0/8"}}, "routes"),
    ({"routes": [{"dst": "nonsense"}]}, "nonsense"),
    ({"routes": [{"gw": "10.22.0.1"}]}, "dst"),
    ({"routes": [{"dst": "10.0.0.0/8", "gw": "nonsense"}]}, "nonsense"),
    ({"routes": [3]}, "routes"),
    ({"dns": "192.0.2.53"}, "dns"),
    ({"dns": {"nameservers": "192.0.2.53"}}, "nameservers"),
    ({"ranges": [[{"subnet": "10.22.0.0/24", "rangeStart": "10.23.0.5"}]], "subnet": ABSENT}, "10.23.0.5"),
    ({"ranges": [[{"subnet": "10.22.0.0/24", "rangeEnd": "nonsense"}]], "subnet": ABSENT}, "nonsense"),
    (
        {
            "ranges": [[{"subnet": "10.22.0.0/24", "rangeStart": "10.22.0.9", "rangeEnd": "10.22.0.3"}]],
            "subnet": ABSENT,
        },
        "10.22.0.9",
    ),
    ({"ranges": [[{}]], "subnet": ABSENT}, "subnet"),
    ({"ranges": "10.22.0.0/24", "subnet": ABSENT}, "ranges"),
    ({"ranges": [[{"subnet": "10.22.0.0/24"}, {"subnet": "10.22.0.0/25"}]], "subnet": ABSENT}, "10.22.0.0/2"),
    ({"ranges": [[{"subnet": "10.22.0.0/24"}, {"subnet": "fd00:22::/64"}]], "subnet": ABSENT}, "fd00:22::/64"),
    ({"ipam": "host-local"}, "ipam"),
    ({"ipam": {"type": 3}}, "type"),
    ({"runtimeConfig": "x"}, "runtimeConfig"),
    ({"runtimeConfig": {"ips": "10.22.0.9"}}, "ips"),
    ({"runtimeConfig": {"ips": ["nonsense"]}}, "nonsense"),
    ({"runtimeConfig": {"ips": ["203.0.113.9"]}}, "203.0.113.9"),
    ({"runtimeConfig": {"mac": "nonsense"}}, "nonsense"),
    ({"args": {"cni": {"ips": [3]}}}, "ips"),
    ({"args": {"cni": {"mac": "nonsense"}}}, "nonsense"),
]
# Trap 4: forms that Python's ipaddress takes and Go refuses.
LOOSE = [
    "10.22.0.0/255.255.255.0",
    "10.22.0.0/0.0.0.255",
    "10.22.0.0",
    "fe80::%eth0/64",
    "fd00:22::%1/64",
    "10.22.0.0/ 24",
    " 10.22.0.0/24",
    "10.22.0.0/24\n",
    "10.22.0.0/+24",
    "010.22.0.0/24",
    "\u0661\u0660.22.0.0/24",
    "10.22.0.0/24/24",
    "10.22/16",
]
# A list of CIDRs in one string may have spaces; a route's destination is one.
LOOSE_IN_PLACES = [
    (key, text)
    for key in ("subnet", "network", "dst")
    for text in LOOSE
    if key == "dst" or text.strip() != "10.22.0.0/24"
]


@pytest.mark.line(28, 29)
@pytest.mark.cells("one")
@pytest.mark.podwire_decision
@pytest.mark.parametrize(("changes", "word"), WRONG, ids=[f"{number}-{word}" for number, (_, word) in enumerate(WRONG)])
def test_wrong_configuration(node: Node, changes: dict[str, Any], word: str) -> None:
    """Lines 28 and 29: code 6 or 7, a msg that quotes the offence, the same at every retry; nothing is changed."""
    pod = node.pod()
    with node.unchanged(pod):
        first = node.plugin.cni_add(node.config(**changes), "c1", pod.path)
        node.refused(first, 6, 7)
        assert word in first.document["msg"], first
        assert node.plugin.cni_add(node.config(**changes), "c1", pod.path).stdout == first.stdout


@pytest.mark.line("trap 4")
@pytest.mark.cells("one")
@pytest.mark.podwire_decision
@pytest.mark.parametrize(("key", "subnet"), LOOSE_IN_PLACES, ids=ascii)
def test_loose_spellings_are_refused(node: Node, key: str, subnet: str) -> None:
    """Trap 4: netmasks, hostmasks, zones, bare addresses, white space, leading zeros are not CIDR."""
    changes: dict[str, Any] = {"routes": [{"dst": subnet}]} if key == "dst" else {key: subnet}
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(node.config(**changes), "c1", pod.path), 7)


@pytest.mark.line("trap 4")
@pytest.mark.cells("one")
@pytest.mark.podwire_decision
@pytest.mark.parametrize("address", ["10.22.0.9%1", "fd00:22::9%eth0", "10.22.0.09", "0x0a160009", "168165385"])
def test_loose_addresses_are_refused(node: Node, address: str) -> None:
    """Trap 4: an address with a zone, leading zeros or as one number is none."""
    pod = node.pod()
    with node.unchanged(pod):
        outcome = node.plugin.cni_add(node.config(runtimeConfig={"ips": [address]}), "c1", pod.path)
        assert f"{address} is not an IP address" in node.refused(outcome, 7)


@pytest.mark.line(29)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
@pytest.mark.parametrize("family", FULL_SUBNETS)
def test_full_range(node: Node, family: str) -> None:
    """Line 29: a full range says so, which one and how many, and what to do; the same at each retry."""
    subnet, room = FULL_SUBNETS[family]
    config = node.config(subnet=subnet)
    attachments = [node.added(config) for _ in range(room)]
    assert len({each.addresses[0] for each in attachments}) == room
    pod = node.pod()
    with node.unchanged(pod):
        first = node.plugin.cni_add(config, "c1", pod.path)
        node.refused(first)
        assert subnet in first.document["msg"]
        assert "full" in first.document["msg"]
        assert f"{room} of {room}" in first.document["msg"]
        assert node.plugin.cni_add(config, "c2", pod.path).document["msg"] == first.document["msg"]
    node.silent(node.delete(attachments[2]))
    assert node.added(config).addresses == attachments[2].addresses


@pytest.mark.line(29)
@pytest.mark.cells("datapaths")
def test_requested_address_in_use(node: Node) -> None:
    """Line 29: a requested address that another pod has is an error that names it; nothing is left behind."""
    first = node.added()
    pod = node.pod()
    with node.unchanged(pod):
        config = node.config(args={"cni": {"ips": first.addresses}})
        assert first.addresses[0] in node.refused(node.plugin.cni_add(config, "c1", pod.path))


@pytest.mark.line(30)
@pytest.mark.podwire_decision
def test_a_real_del_failure_is_not_taken_for_success(node: Node) -> None:
    """Line 30: DEL that cannot know what to do avoids the words that containerd takes for success."""
    pod = node.pod()
    for config in (b"", b"{", node.config(cniVersion="9.9.9"), node.config(name="-")):
        message = node.refused(node.plugin.cni_del(config, "c1", pod.path)).lower()
        assert "not found" not in message
        assert "no such file" not in message


@pytest.mark.line(21, 30)
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    "changes", [{"subnet": "nonsense"}, {"mtu": -1}, {"mode": "vxlan"}, {"subnet": ABSENT}], ids=str
)
def test_del_with_a_configuration_gone_bad(node: Node, changes: dict[str, Any]) -> None:
    """Line 21: DEL needs the network's name, not its ranges: a config that went bad does not block it."""
    attachment = node.added()
    outcome = node.plugin.cni_del(node.config(**changes), attachment.container, attachment.pod.path)
    node.silent(outcome)
    assert "eth0" not in attachment.pod.links()
