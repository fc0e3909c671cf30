"""How a node reaches its peers: on-link directly, else by VXLAN; and from one picture to the next."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from podwire.datapath.peer_routes import Paths, Underlay, changes, desired_paths, exchange, pod_mtu, vtep_mac
from podwire.netlink import operations as op
from podwire.node.old_settings import RawPeer, RawSettings, RawTunnel, Settings, settle

ETH0 = Underlay("eth0", ip_interface("192.168.33.11/24"), 1500)


def settings(*peers: RawPeer, **changed: Any) -> Settings:
    values: dict[str, Any] = {
        "addresses": ("192.168.33.11",),
        "pod_ranges": ("10.244.1.0/24",),
        "cluster_ranges": ("10.244.0.0/16", "fd00:10:244::/48"),
    }
    return settle(RawSettings(**{**values, **changed}, peers=peers), "worker-1")[0]


NEAR = RawPeer("near", ("192.168.33.12",), ("10.244.2.0/24",))
FAR = RawPeer("far", ("192.168.99.12",), ("10.244.3.0/24",))


def test_an_on_link_peer_is_reached_directly_and_a_far_one_by_vxlan() -> None:
    paths = desired_paths(settings(NEAR, FAR), [ETH0])
    assert paths.routes[ip_network("10.244.2.0/24")] == op.AddRoute(
        "eth0", ip_network("10.244.2.0/24"), ip_address("192.168.33.12"), replace=True
    )
    far = paths.routes[ip_network("10.244.3.0/24")]
    assert far.device == "podwire-vx4" and far.onlink and far.source == ip_address("10.244.1.1")
    assert paths.devices["podwire-vx4"].mtu == 1450 and paths.devices["podwire-vx4"].underlay == "eth0"
    mac = vtep_mac(ip_address("192.168.99.12"))
    assert paths.neighbours["podwire-vx4", ip_address("10.244.3.1")].mac == mac
    assert paths.forwarding["podwire-vx4", mac].node == ip_address("192.168.99.12")
    assert not paths.problems


def test_a_vtep_mac_is_unicast_local_and_each_nodes_own() -> None:
    macs = {vtep_mac(ip_address(f"192.168.{n // 250}.{n % 250 + 1}")) for n in range(5000)}
    assert len(macs) == 5000 and all(int(mac[:2], 16) & 3 == 2 for mac in macs)


def test_the_most_specific_subnet_wins() -> None:
    wide = Underlay("eth1", ip_interface("192.168.0.11/16"), 1500)
    routes = desired_paths(settings(NEAR), [wide, ETH0]).routes
    assert routes[ip_network("10.244.2.0/24")].device == "eth0"


def test_an_ipv6_range_of_an_ipv4_node_goes_through_the_tunnel() -> None:
    peer = RawPeer("six", ("192.168.33.12",), ("fd00:10:244:2::/64",))
    route = desired_paths(settings(peer), [ETH0]).routes[ip_network("fd00:10:244:2::/64")]
    assert route.device == "podwire-vx4"


def test_force_and_forbid() -> None:
    forced = desired_paths(settings(NEAR, tunnel=RawTunnel("always")), [ETH0])
    assert forced.routes[ip_network("10.244.2.0/24")].device == "podwire-vx4"
    forbidden = desired_paths(settings(NEAR, FAR, tunnel=RawTunnel("never")), [ETH0])
    assert list(forbidden.routes) == [ip_network("10.244.2.0/24")]
    assert len(forbidden.problems) == 1 and "far is not on-link" in forbidden.problems[0]


def test_a_node_whose_address_is_on_no_device_is_told_so() -> None:
    paths = desired_paths(settings(FAR), [Underlay("eth0", ip_interface("10.0.0.1/24"), 1500)])
    assert not paths.routes and "192.168.33.11 of this node is on none of its devices" in paths.problems[0]


def test_pods_get_the_underlays_mtu_unless_one_is_set() -> None:
    jumbo = Underlay("eth0", ip_interface("192.168.33.11/24"), 9000)
    assert pod_mtu(settings(), [jumbo]) == 9000
    assert pod_mtu(settings(mtu=1400), [jumbo]) == 1400


def test_the_same_picture_needs_no_change() -> None:
    want = desired_paths(settings(NEAR, FAR), [ETH0])
    assert changes(want, desired_paths(settings(NEAR, FAR), [ETH0])) == []


def test_a_device_that_nobody_needs_goes_last() -> None:
    have, want = desired_paths(settings(FAR), [ETH0]), desired_paths(settings(NEAR), [ETH0])
    operations = changes(have, want)
    assert operations[-1] == op.DeleteLink("podwire-vx4") and isinstance(operations[0], op.AddRoute)


def test_a_device_that_differs_is_made_anew_with_all_that_hung_on_it() -> None:
    have, want = desired_paths(settings(FAR), [ETH0]), desired_paths(settings(FAR, tunnel=RawTunnel(vni=9)), [ETH0])
    kinds = [type(one).__name__ for one in changes(have, want)]
    assert kinds[:2] == ["DeleteLink", "AddVxlan"]
    assert kinds[-3:] == ["AddForwarding", "AddNeighbour", "AddRoute"]


def carried_out(have: Paths, operations: list[op.Operation]) -> Paths:
    """What the kernel would have after these operations."""
    paths = Paths(dict(have.devices), dict(have.routes), dict(have.neighbours), dict(have.forwarding))
    for one in operations:
        match one:
            case op.DeleteLink(device):
                del paths.devices[device]
                for table in (paths.routes, paths.neighbours, paths.forwarding):
                    for key in [key for key, entry in table.items() if entry.device == device]:
                        del table[key]  # type: ignore[arg-type]
            case op.AddVxlan():
                paths.devices[one.name] = one
            case op.DeleteRoute():
                del paths.routes[one.destination]
            case op.DeleteNeighbour():
                del paths.neighbours[one.device, one.address]
            case op.DeleteForwarding():
                del paths.forwarding[one.device, one.mac]
            case op.AddRoute():
                paths.routes[one.destination] = one
            case op.AddNeighbour():
                paths.neighbours[one.device, one.address] = one
            case op.AddForwarding():
                paths.forwarding[one.device, one.mac] = one
    return paths


@st.composite
def some_settings(draw: st.DrawFn) -> Settings:
    peers = [
        RawPeer(
            f"peer-{n}",
            (f"192.168.{draw(st.sampled_from([33, 99]))}.{100 + n + draw(st.integers(0, 1)) * 50}",),
            (f"10.244.{n + 2}.0/24", f"fd00:10:244:{n + 2}::/64") if draw(st.booleans()) else (f"10.244.{n + 2}.0/24",),
            draw(st.sampled_from([None, "always", "auto"])),
        )
        for n in draw(st.lists(st.integers(0, 6), unique=True))
    ]
    return settings(*peers, tunnel=RawTunnel(vni=draw(st.integers(1, 2))))


@given(some_settings(), some_settings())
def test_changes_lead_from_any_picture_to_any_other(before: Settings, after: Settings) -> None:
    have, want = desired_paths(before, [ETH0]), desired_paths(after, [ETH0])
    reached = carried_out(have, changes(have, want))
    assert changes(reached, want) == []
    assert (reached.devices, reached.routes) == (want.devices, want.routes)


@given(some_settings(), some_settings())
def test_exchanging_the_peers_that_differ_is_as_good_as_looking_at_all(before: Settings, after: Settings) -> None:
    after = replace(after, vni=before.vni)
    have, want = desired_paths(before, [ETH0]), desired_paths(after, [ETH0])
    picture = desired_paths(before, [ETH0])
    gone = {name: one for name, one in before.peers.items() if after.peers.get(name) != one}
    come = {name: one for name, one in after.peers.items() if before.peers.get(name) != one}
    less, more = (desired_paths(replace(after, peers=one), [ETH0]) for one in (gone, come))
    reached = carried_out(have, exchange(picture, less, more))
    assert changes(reached, want) == [] and changes(picture, want) == []
    assert (reached.devices, reached.routes, reached.forwarding) == (want.devices, want.routes, want.forwarding)
    assert sorted(str(one) for one in picture.ways) == sorted(str(one) for one in want.ways)
