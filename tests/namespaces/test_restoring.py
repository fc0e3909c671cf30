# SPDX-License-Identifier: Apache-2.0
"""What was broken by hand is restored by the next ADD."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.namespaces.ground import GATEWAY, GATEWAY_DEVICE, INTERNET, MODES, Outside, configuration, ips
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Plugin

New = Callable[[], Namespace]

BREAKS: dict[str, tuple[str, ...]] = {
    "gateway-device-deleted": ("ip", "link", "del", "GATEWAY_DEVICE"),
    "gateway-device-down": ("ip", "link", "set", "GATEWAY_DEVICE", "down"),
    "gateway-address-deleted": ("ip", "addr", "flush", "dev", "GATEWAY_DEVICE"),
    "ipv4-forwarding-off": ("sysctl", "-qw", "net.ipv4.ip_forward=0"),
    "ipv6-forwarding-off": ("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"),
    "firewall-flushed": ("nft", "flush", "ruleset"),
    "forward-policy-drop": ("iptables", "-P", "FORWARD", "DROP"),
}


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("mode", MODES)
def test_the_next_add_restores(
    plugin: Plugin, host: Host, outside: Outside, new_namespace: New, mode: str, broken: str
) -> None:
    """The next pod has its gateway, its neighbours and the internet, whatever was broken."""
    config = configuration(mode)
    assert plugin.cni_add(config, "before", new_namespace().path).ok
    host.run(*(GATEWAY_DEVICE[mode] if word == "GATEWAY_DEVICE" else word for word in BREAKS[broken]))
    one, two = new_namespace(), new_namespace()
    added = [plugin.cni_add(config, pod.name, pod.path) for pod in (one, two)]
    for family, address in zip((4, 6), ips(added[1]), strict=True):
        assert one.pings(GATEWAY[family])
        assert one.pings(address)
        assert one.pings(INTERNET[family])
        assert outside.seen("bare", family) == 0


@pytest.mark.parametrize("mode", MODES)
def test_an_add_that_finds_all_in_place_changes_nothing_else(
    plugin: Plugin, host: Host, new_namespace: New, mode: str
) -> None:
    """Rules are not added a second time, nor is a foreign rule touched."""
    host.run("iptables", "-P", "FORWARD", "DROP")
    host.run("iptables", "-A", "FORWARD", "-s", "203.0.113.9", "-j", "ACCEPT")
    config = configuration(mode)
    assert plugin.cni_add(config, "one", new_namespace().path).ok
    before = host.run("nft", "-s", "list", "ruleset").stdout
    assert "203.0.113.9" in before
    assert plugin.cni_add(config, "two", new_namespace().path).ok
    assert host.run("nft", "-s", "list", "ruleset").stdout == before
