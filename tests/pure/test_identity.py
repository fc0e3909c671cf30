# SPDX-License-Identifier: Apache-2.0
"""Names of attachments: the same for the same, different for the different, and always within the kernel's limits."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.attachments.identity import Attachment, network_prefix, parse_alias, pod_mac

identifiers = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,300}", fullmatch=True)
ifnames = st.from_regex(r"[a-zä][a-z0-9.@_-]{0,13}", fullmatch=True)
SINCE = "2026-01-02T03:04:05Z"


@pytest.mark.failure_mode("stale veths, name collisions")
@given(identifiers, identifiers, ifnames)
def test_a_device_name_fits_and_is_made_of_letters_and_digits(network: str, container: str, ifname: str) -> None:
    device = Attachment(network, container, ifname).device
    assert len(device) == 15 and device.isalnum() and device.startswith(network_prefix(network))


@pytest.mark.failure_mode("stale veths, name collisions")
def test_each_part_of_the_identity_counts() -> None:
    devices = {
        Attachment(*parts).device
        for parts in (
            ("a", "b", "eth0"),
            ("a", "b", "eth1"),
            ("a", "c", "eth0"),
            ("b", "b", "eth0"),
            ("a", "b\0", "eth0"),
        )
    }
    assert len(devices) == 5
    assert Attachment("n", "c", "eth0", "default/a").device == Attachment("n", "c", "eth0").device


@given(identifiers, identifiers, ifnames, st.text(max_size=400))
def test_an_alias_can_be_read_back_whatever_the_pods_name(network: str, container: str, ifname: str, pod: str) -> None:
    alias = Attachment(network, container, ifname, pod).alias(SINCE)
    assert len(alias.encode()) <= 254
    owner = parse_alias(alias)
    assert owner is not None and owner.ifname == ifname and owner.since == SINCE
    if len(container) <= 100:
        assert owner.container_id == container


def test_a_hostile_pod_name_stays_out_of_the_alias() -> None:
    for pod in ("default/x\nevil", "a b/c", "../../etc/passwd", "default/", "ns/" + "\x1b[31m"):
        assert parse_alias(Attachment("n", "c", "eth0", pod).alias(SINCE)) == parse_alias(f"podwire n c eth0 {SINCE}")


def test_other_peoples_aliases_are_nobodys_attachment() -> None:
    for alias in ("", "podwire", "podwire made last-lease 10.0.0.1", "uplink", "podwire  a b c d e f g"):
        assert parse_alias(alias) is None


@pytest.mark.failure_mode("an address reused too fast")
def test_macs_are_unicast_local_and_follow_the_address() -> None:
    one = pod_mac(ip_address("10.244.1.5"), "pwx")
    assert one == "0a:58:0a:f4:01:05"
    for mac in (one, pod_mac(ip_address("fd00::5"), "pwx"), pod_mac(None, "pwx"), Attachment("n", "c", "e").host_mac):
        assert int(mac[:2], 16) & 3 == 2
