# SPDX-License-Identifier: Apache-2.0
"""How a node reaches its peers: on-link directly, else by VXLAN; and from one picture to the next."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from podwire.datapath.peer import LocalNode, PeerRoutes, UnderlayAddress
from podwire.datapath.peers import changes, desired_routes, exchange, pod_mtu
from podwire.datapath.vxlan import vtep_mac
from podwire.netlink import operations as op
from podwire.node.settings import Peer, Tunnel

ETH0 = UnderlayAddress("eth0", ip_interface("192.168.33.11/24"), 1500)
NODE = LocalNode((ip_address("192.168.33.11"),), (ip_network("10.244.1.0/24"),), 4096, 4789, [ETH0])
NEAR = Peer.parse("near", ["192.168.33.12"], ["10.244.2.0/24"])
FAR = Peer.parse("far", ["192.168.99.12"], ["10.244.3.0/24"])


def desired(*peers: Peer, tunnel: Tunnel = "auto", node: LocalNode = NODE) -> PeerRoutes:
    return desired_routes(node, tunnel, peers)


def test_an_on_link_peer_is_reached_directly_and_a_far_one_by_vxlan() -> None:
    paths = desired(NEAR, FAR)
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
    wide = UnderlayAddress("eth1", ip_interface("192.168.0.11/16"), 1500)
    routes = desired(NEAR, node=replace(NODE, underlay=[wide, ETH0])).routes
    assert routes[ip_network("10.244.2.0/24")].device == "eth0"


def test_an_ipv6_range_of_an_ipv4_node_goes_through_the_tunnel() -> None:
    peer = Peer.parse("six", ["192.168.33.12"], ["fd00:10:244:2::/64"])
    route = desired(peer).routes[ip_network("fd00:10:244:2::/64")]
    assert route.device == "podwire-vx4"


def test_force_and_forbid() -> None:
    forced = desired(NEAR, tunnel="always")
    assert forced.routes[ip_network("10.244.2.0/24")].device == "podwire-vx4"
    forbidden = desired(NEAR, FAR, tunnel="never")
    assert list(forbidden.routes) == [ip_network("10.244.2.0/24")]
    assert list(forbidden.problems) == ["far"] and "far is not on-link" in forbidden.problems["far"][0]


def test_a_node_whose_address_is_on_no_device_is_told_so() -> None:
    paths = desired(FAR, node=replace(NODE, underlay=[UnderlayAddress("eth0", ip_interface("10.0.0.1/24"), 1500)]))
    assert not paths.routes and "192.168.33.11 of this node is on none of its devices" in paths.problems["far"][0]


def test_pods_get_the_underlays_mtu_unless_one_is_set() -> None:
    jumbo = UnderlayAddress("eth0", ip_interface("192.168.33.11/24"), 9000)
    assert pod_mtu(0, NODE.addresses, [jumbo]) == 9000
    assert pod_mtu(1400, NODE.addresses, [jumbo]) == 1400


def test_the_same_picture_needs_no_change() -> None:
    want = desired(NEAR, FAR)
    assert changes(want, desired(NEAR, FAR)) == []


def test_a_device_that_nobody_needs_goes_last() -> None:
    have, want = desired(FAR), desired(NEAR)
    operations = changes(have, want)
    assert operations[-1] == op.DeleteLink("podwire-vx4") and isinstance(operations[0], op.AddRoute)


def test_a_device_that_differs_is_made_anew_with_all_that_hung_on_it() -> None:
    have, want = desired(FAR), desired(FAR, node=replace(NODE, vni=9))
    kinds = [type(change).__name__ for change in changes(have, want)]
    assert kinds[:2] == ["DeleteLink", "AddVxlan"]
    assert kinds[-3:] == ["AddForwarding", "AddNeighbour", "AddRoute"]


def carried_out(have: PeerRoutes, operations: list[op.Operation]) -> PeerRoutes:
    """What the kernel would have after these operations."""
    paths = PeerRoutes(dict(have.devices), dict(have.routes), dict(have.neighbours), dict(have.forwarding))
    for operation in operations:
        match operation:
            case op.DeleteLink(device):
                del paths.devices[device]
                for table in (paths.routes, paths.neighbours, paths.forwarding):
                    for key in [key for key, entry in table.items() if entry.device == device]:
                        del table[key]  # type: ignore[arg-type]
            case op.AddVxlan():
                paths.devices[operation.name] = operation
            case op.DeleteRoute():
                del paths.routes[operation.destination]
            case op.DeleteNeighbour():
                del paths.neighbours[operation.device, operation.address]
            case op.DeleteForwarding():
                del paths.forwarding[operation.device, operation.mac]
            case op.AddRoute():
                paths.routes[operation.destination] = operation
            case op.AddNeighbour():
                paths.neighbours[operation.device, operation.address] = operation
            case op.AddForwarding():
                paths.forwarding[operation.device, operation.mac] = operation
    return paths


@st.composite
def some_peers(draw: st.DrawFn) -> list[Peer]:
    return [
        Peer.parse(
            f"peer-{n}",
            [f"192.168.{draw(st.sampled_from([33, 99]))}.{100 + n + draw(st.integers(0, 1)) * 50}"],
            [f"10.244.{n + 2}.0/24", f"fd00:10:244:{n + 2}::/64"] if draw(st.booleans()) else [f"10.244.{n + 2}.0/24"],
            draw(st.sampled_from([None, "always", "auto", "never"])),
        )
        for n in draw(st.lists(st.integers(0, 6), unique=True))
    ]


@given(some_peers(), some_peers(), st.integers(1, 2))
def test_changes_lead_from_any_state_to_any_other(before: list[Peer], after: list[Peer], vni: int) -> None:
    have, want = desired(*before, node=replace(NODE, vni=1)), desired(*after, node=replace(NODE, vni=vni))
    reached = carried_out(have, changes(have, want))
    assert changes(reached, want) == []
    assert (reached.devices, reached.routes) == (want.devices, want.routes)


@given(some_peers(), some_peers())
def test_exchanging_the_peers_that_differ_is_as_good_as_looking_at_all(before: list[Peer], after: list[Peer]) -> None:
    have, want, state = desired(*before), desired(*after), desired(*before)
    come = [peer for peer in after if peer not in before]
    gone = {peer.name for peer in before if peer not in after} | {peer.name for peer in come}
    reached = carried_out(have, exchange(state, gone, desired(*come)))
    assert changes(reached, want) == [] and changes(state, want) == []
    assert (reached.devices, reached.routes, reached.forwarding) == (want.devices, want.routes, want.forwarding)
    assert (state.devices, state.neighbours) == (want.devices, want.neighbours)
    assert (state.destinations, state.problems) == (want.destinations, want.problems)
    assert +state.routes_over == want.routes_over


def test_one_peer_more_or_less_costs_that_peers_work_alone() -> None:
    state = desired(*(Peer.parse(f"p-{n}", [f"10.99.{n}.1"], [f"10.244.{n}.0/24"]) for n in range(2, 200)))
    more = exchange(state, ["far"], desired(Peer.parse("far", ["192.168.99.12"], ["10.245.3.0/24"])))
    assert [type(operation) for operation in more] == [op.AddForwarding, op.AddNeighbour, op.AddRoute]
    less = exchange(state, ["far"], desired())
    assert [type(operation) for operation in less] == [op.DeleteRoute, op.DeleteNeighbour, op.DeleteForwarding]


def test_a_device_that_is_down_is_set_up_and_kept() -> None:
    have, want = desired(FAR), desired(FAR)
    have.down.add("podwire-vx4")
    have.routes.clear()
    assert changes(have, want) == [op.SetUp("podwire-vx4"), *want.routes.values()]
