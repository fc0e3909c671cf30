# SPDX-License-Identifier: Apache-2.0
"""What one ADD makes on the host and in the pod, object by object, as iproute2 shows it."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.namespaces.ground import (
    FAMILIES,
    GATEWAY,
    GATEWAY_DEVICE,
    MODES,
    ROUTE_PROTOCOL,
    SUBNET,
    configuration,
    host_device,
    ips,
)
from tests.support.namespace import Host, Namespace, Row, wait_until
from tests.support.plugin import Plugin

FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}
FULL_LENGTH = {4: 32, 6: 128}

New = Callable[[], Namespace]


def only(rows: list[Row], **wanted: Any) -> Row:
    """The one row that has these values."""
    found = [row for row in rows if all(str(row.get(key)) == str(value) for key, value in wanted.items())]
    assert len(found) == 1, (wanted, rows)
    return found[0]


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_the_hosts_end_carries_the_lease_and_its_owner(
    wire: Plugin, host: Host, pod: Namespace, mode: str, families: tuple[int, ...]
) -> None:
    """Its altnames are the pod's addresses, its alias says whose they are; `ip link show <ip>` finds it."""
    args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0"
    added = wire.cni_add(configuration(mode, families), "box", pod.path, args=args)
    device = host_device(added)
    link = host.links()[device]
    assert device.startswith("pw")
    assert len(device) == 15
    assert sorted(link["altnames"]) == sorted(ips(added))
    owner = link["ifalias"].split()
    assert (owner[:4], owner[-1]) == (["podwire", "net", "box", "eth0"], "shop/cart-0")
    assert link["linkinfo"]["info_kind"] == "veth"
    assert "UP" in link["flags"]
    for address in ips(added):
        assert [row["ifname"] for row in host.ip("link", "show", "dev", address)] == [device]


@pytest.mark.parametrize("mode", MODES)
def test_the_result_tells_the_truth_about_links(wire: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """MACs and MTU in the result are the kernel's, and the two ends are each other's peer."""
    added = wire.cni_add(configuration(mode, mtu=1400), "box", pod.path)
    assert added.ok, added
    inside = pod.links()["eth0"]
    outside = host.links()[host_device(added)]
    assert added.document["interfaces"]
    for each in added.document["interfaces"]:
        link = inside if each.get("sandbox") else host.links()[each["name"]]
        assert each["mac"] == link["address"]
        expected = None if each["name"] == "cni0" else link["mtu"]  # as the reference plugin: none for the bridge
        assert each.get("mtu") == expected
    assert (inside["mtu"], outside["mtu"]) == (1400, 1400)
    assert (inside["link_index"], outside["link_index"]) == (outside["ifindex"], inside["ifindex"])
    assert [each["name"] for each in added.document["interfaces"]][-1] == "eth0"
    assert "UP" in inside["flags"]
    assert "UP" in pod.links()["lo"]["flags"]


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_the_pod_has_its_addresses_and_default_routes(
    wire: Plugin, pod: Namespace, mode: str, families: tuple[int, ...]
) -> None:
    """Alone when routed, with the range's prefix on a bridge; the default route leads to the gateway."""
    added = wire.cni_add(configuration(mode, families), "box", pod.path)
    assert added.ok, added
    expected = []
    for family, address in zip(families, ips(added), strict=True):
        assert ipaddress.ip_address(address) in ipaddress.ip_network(SUBNET[family])
        length = FULL_LENGTH[family] if mode == "routed" else SUBNET[family].split("/")[1]
        expected.append(f"{address}/{length}")
        default = only(pod.routes(family), dst="default")
        assert (default["gateway"], default["dev"]) == (GATEWAY[family], "eth0")
        assert default["protocol"] == ROUTE_PROTOCOL
    assert sorted(pod.addresses("eth0")) == sorted(expected)
    assert len(ips(added)) == len(families)


@pytest.mark.failure_mode("slow ADD, sandbox timeouts")
@pytest.mark.parametrize("mode", MODES)
def test_no_address_is_tentative_when_add_returns(wire: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """Duplicate address detection would keep a pod from using its IPv6 address for a second."""
    added = wire.cni_add(configuration(mode), "box", pod.path)
    assert added.ok, added
    for namespace, device in ((pod, "eth0"), (host, GATEWAY_DEVICE[mode])):
        rows = namespace.ip("-6", "addr", "show", "dev", device, "scope", "global")
        addresses = [each for row in rows for each in row["addr_info"]]
        assert addresses
        for address in addresses:
            assert not address.get("tentative"), address
            assert not address.get("dadfailed"), address


def test_routed_host_has_a_route_and_a_neighbour_for_each_address(wire: Plugin, host: Host, pod: Namespace) -> None:
    """Both belong to the veth, so that they go with it; no ARP or ND is ever needed, on either side."""
    added = wire.cni_add(configuration("routed"), "box", pod.path)
    device = host_device(added)
    inside, outside = pod.links()["eth0"]["address"], host.links()[device]["address"]
    for family, address in zip((4, 6), ips(added), strict=True):
        route = only(host.routes(family), dst=address)
        assert (route["dev"], route["protocol"]) == (device, ROUTE_PROTOCOL)
        theirs = only(host.ip(f"-{family}", "neigh", "show", "dev", device, "nud", "permanent"), dst=address)
        assert theirs["lladdr"] == inside
        gateway = only(pod.ip(f"-{family}", "neigh", "show", "dev", "eth0", "nud", "permanent"), dst=GATEWAY[family])
        assert gateway["lladdr"] == outside
        assert only(pod.routes(family), dst=GATEWAY[family])["dev"] == "eth0"


@contextmanager
def monitored(namespace: Namespace, log: Path) -> Iterator[None]:
    """`ip monitor link` while something happens; it has told all of it when this ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(namespace.argv("ip", "-o", "monitor", "link"), stdout=out)
    try:
        assert wait_until(lambda: _told(namespace, log, "begun0"))
        yield
        assert wait_until(lambda: _told(namespace, log, "ended0"))
    finally:
        process.kill()
        process.wait()


def _told(namespace: Namespace, log: Path, mark: str) -> bool:
    namespace.ip("link", "add", mark, "type", "bridge")
    namespace.ip("link", "del", mark)
    return mark in log.read_text()


@pytest.mark.failure_mode("the host's `eth0` is shadowed for a moment", "slow ADD, sandbox timeouts")
@pytest.mark.parametrize("mode", MODES)
def test_the_pods_interface_is_never_on_the_host(
    wire: Plugin, host: Host, new_namespace: New, tmp_path: Path, mode: str
) -> None:
    """`ip monitor` on the host tells of the host's devices alone, and of each with one name."""
    log = tmp_path / "monitor"
    with monitored(host, log):
        pods = [new_namespace() for _ in range(3)]  # the third is wired by the template that the first two gave
        devices = {host_device(wire.cni_add(configuration(mode), pod.name, pod.path)) for pod in pods}
    told = {match[1] for match in re.finditer(r"^(?:Deleted )?\d+: ([^:@]+)", log.read_text(), re.MULTILINE)}
    assert devices < told
    assert not [name for name in told if name.startswith(("eth", "veth", "tmp"))]
    assert {name for name in told if name.startswith("pw")} <= devices | {"podwire0"}


@pytest.mark.failure_mode("MAC rewritten by udev")
@pytest.mark.parametrize("mode", MODES)
def test_macs_never_change(wire: Plugin, host: Host, new_namespace: New, tmp_path: Path, mode: str) -> None:
    """`ip monitor` shows one MAC of each end, that of the result, from the first message on."""
    for number in range(3):
        pod, outside, inside = new_namespace(), tmp_path / f"outside{number}", tmp_path / f"inside{number}"
        with monitored(host, outside), monitored(pod, inside):
            added = wire.cni_add(configuration(mode), pod.name, pod.path)
        answered = {each["name"]: each["mac"] for each in added.document["interfaces"]}
        for name, log in ((host_device(added), outside), ("eth0", inside)):
            lines = [line for line in log.read_text().splitlines() if f": {name}@" in line]
            macs = {match[1] for line in lines if (match := re.search(r"link/ether (\S+)", line))}
            assert macs == {answered[name]}, lines


@pytest.mark.failure_mode("1,024 ports, hairpin, promiscuous mode")
def test_routed_pods_need_no_bridge_port(wire: Plugin, host: Host, pod: Namespace) -> None:
    """The host's end has no master, and the gateway's device has nothing but the gateways."""
    added = wire.cni_add(configuration("routed"), "box", pod.path)
    assert "master" not in host.links()[host_device(added)]
    assert sorted(host.addresses("podwire0")) == sorted(f"{GATEWAY[family]}/{FULL_LENGTH[family]}" for family in (4, 6))


def test_bridge_carries_the_gateway_and_a_mac_that_stays(wire: Plugin, host: Host, new_namespace: New) -> None:
    """A bridge's MAC must not change with its ports: pods have it in their neighbour caches."""
    macs = []
    for number in range(3):
        pod = new_namespace()
        added = wire.cni_add(configuration("bridge"), f"box{number}", pod.path)
        assert host.links()[host_device(added)]["master"] == "cni0"
        macs.append(host.links()["cni0"]["address"])
        assert added.document["interfaces"][0] == {"name": "cni0", "mac": macs[-1]}
    assert len(set(macs)) == 1
    expected = [f"{GATEWAY[family]}/{SUBNET[family].split('/')[1]}" for family in (4, 6)]
    assert sorted(host.addresses("cni0")) == sorted(expected)


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpin_mode_is_the_ports(wire: Plugin, host: Host, pod: Namespace, hairpin: bool) -> None:
    """`bridge -d link` shows it."""
    added = wire.cni_add(configuration("bridge", hairpinMode=hairpin), "box", pod.path)
    port = host.links()[host_device(added)]["linkinfo"]["info_slave_data"]
    assert port["hairpin"] is hairpin


def test_promiscuous_mode_is_the_bridges(wire: Plugin, host: Host, pod: Namespace) -> None:
    """As the reference plugin has it."""
    assert wire.cni_add(configuration("bridge", promiscMode=True), "box", pod.path).ok
    assert "PROMISC" in host.links()["cni0"]["flags"]


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_forwarding_is_switched_on(
    wire: Plugin, host: Host, pod: Namespace, mode: str, families: tuple[int, ...]
) -> None:
    """For the families in use."""
    for key in FORWARDING.values():
        host.run("sysctl", "-qw", f"{key}=0")
    assert wire.cni_add(configuration(mode, families), "box", pod.path).ok
    for family in families:
        assert host.sysctl(FORWARDING[family]) == "1"


@pytest.mark.parametrize("mode", MODES)
def test_asked_for_mac_routes_and_address(wire: Plugin, pod: Namespace, mode: str) -> None:
    """What the configuration and the runtime ask for is what the pod gets."""
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "192.168.7.0/24", "gw": GATEWAY[4]}]
    asked = {"ips": ["10.244.1.77"], "mac": "02:11:22:33:44:55"}
    added = wire.cni_add(configuration(mode, (4,), routes=routes, runtimeConfig=asked), "box", pod.path)
    assert ips(added) == ["10.244.1.77"]
    assert pod.links()["eth0"]["address"] == "02:11:22:33:44:55"
    assert only(pod.routes(4), dst="192.168.7.0/24")["gateway"] == GATEWAY[4]
    assert only(pod.routes(4), dst="default")["gateway"] == GATEWAY[4]
