# SPDX-License-Identifier: Apache-2.0
"""Host ports: who reaches a pod by the node's address, and whose port it is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.namespaces.ground import GATEWAY, MODES, NEXT, NODE, Outside, configuration, host_device, ips
from tests.namespaces.mapping import TABLE, has_table, in_table, mapped, port
from tests.namespaces.service import NOTHING, Service, answered_by, ask
from tests.support.namespace import Host, Namespace
from tests.support.plugin import Outcome, Plugin
from tests.support.tools import tool

New = Callable[[], Namespace]

TAKEN = 108


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("mode", MODES)
def test_everybody_reaches_the_pod_by_the_nodes_address(
    wire: Plugin, host: Host, outside: Outside, new_namespace: New, mode: str, protocol: str
) -> None:
    """The world outside, which keeps its own address; the node itself; another pod; and the very same pod."""
    pod, other = new_namespace(), new_namespace()
    config = mapped(mode, port(8080, protocol=protocol.upper()))
    added = wire.cni_add(config, "box", pod.path)
    assert added.ok, added
    assert wire.cni_add(configuration(mode), "other", other.path).ok
    with Service(pod, "shop"):
        for family in (4, 6):
            assert ask(outside, protocol, NODE[family], 8080) == ["shop", NEXT[family]]
            for source in (host, other, pod):
                for address in (NODE[family], GATEWAY[family]):
                    assert ask(source, protocol, address, 8080)[0] == "shop", (source, address)
        assert ask(host, protocol, "127.0.0.1", 8080)[0] == "shop"
        assert ask(outside, protocol, NODE[4], 80, limit_seconds=1)[0] == NOTHING, "only the host port leads there"
    assert wire.cni_check({**config, "prevResult": added.document}, "box", pod.path).ok


def test_a_host_ip_is_the_only_address_that_leads_to_the_pod(
    wire: Plugin, host: Host, outside: Outside, new_namespace: New
) -> None:
    """Two pods may have one port on two addresses; each gets what is meant for it."""
    one, two = new_namespace(), new_namespace()
    host.ip("addr", "add", "192.0.2.9/24", "dev", "up0")
    assert wire.cni_add(mapped("routed", port(8080, host_ip=NODE[4])), "one", one.path).ok
    assert wire.cni_add(mapped("routed", port(8080, host_ip="192.0.2.9")), "two", two.path).ok
    with Service(one, "first"), Service(two, "second"):
        assert ask(outside, "tcp", NODE[4], 8080)[0] == "first"
        assert ask(outside, "tcp", "192.0.2.9", 8080)[0] == "second"
        assert ask(host, "tcp", "127.0.0.1", 8080)[0] == NOTHING
        assert ask(outside, "tcp", NODE[6], 8080)[0] == NOTHING


@pytest.mark.parametrize("host_ip", ["", "0.0.0.0", NODE[4]])
def test_a_port_in_use_is_refused_with_its_owner(
    wire: Plugin, host: Host, outside: Outside, new_namespace: New, host_ip: str
) -> None:
    """The first pod keeps it, the second has nothing; once the first is gone, the port is free."""
    one, two = new_namespace(), new_namespace()
    config = mapped("routed", port(8080))
    assert wire.cni_add(config, "one", one.path, args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0").ok
    before, links = in_table(host), sorted(host.links())
    again = mapped("routed", port(8080, host_ip=host_ip))
    refused = wire.cni_add(again, "two", two.path)
    assert refused.code == TAKEN, refused
    for word in ("8080", "shop/cart-0", "choose another hostPort"):
        assert word in refused.message
    assert in_table(host) == before and sorted(host.links()) == links
    assert wire.cni_add(mapped("routed", port(8080, protocol="UDP")), "udp", new_namespace().path).ok
    with Service(one, "first"):
        assert ask(outside, "tcp", NODE[4], 8080)[0] == "first"
    assert wire.cni_del(config, "one", one.path).ok
    assert wire.cni_add(again, "two", two.path).ok
    with Service(two, "second"):
        assert ask(outside, "tcp", NODE[4], 8080)[0] == "second"


def test_of_many_at_once_exactly_one_gets_the_port(wire: Plugin, host: Host, new_namespace: New) -> None:
    """And it is that one that the table leads to."""
    pods = [new_namespace() for _ in range(6)]
    config = mapped("routed", port(8080), families=(4,))
    with ThreadPoolExecutor(len(pods)) as pool:
        outcomes: list[Outcome] = list(pool.map(lambda pod: wire.cni_add(config, pod.name, pod.path), pods))
    won = [each for each in outcomes if each.ok]
    assert len(won) == 1, outcomes
    assert {each.code for each in outcomes if not each.ok} == {TAKEN}
    elements = in_table(host)
    assert len(elements) == 2 and all(ips(won[0])[0] in each for each in elements)


@pytest.mark.failure_mode("stale UDP conntrack")
def test_stale_udp_flows_are_forgotten(wire: Plugin, outside: Outside, new_namespace: New) -> None:
    """A sender that keeps its port reaches the pod that came after its first packet, and that one's successor."""
    config = mapped("routed", port(5353, 53, "UDP"), families=(4,))
    asking = ("udp", NODE[4], 5353, 40000)
    assert ask(outside, *asking, limit_seconds=0.3)[0] == NOTHING
    for name in ("first", "second"):
        pod = new_namespace()
        assert wire.cni_add(config, name, pod.path).ok
        with Service(pod, name, 53):
            assert answered_by(outside, *asking) == name
            assert answered_by(outside, *asking) == name
        assert wire.cni_del(config, name, pod.path).ok


@pytest.mark.failure_mode("stale UDP conntrack")
def test_flows_of_others_are_not_forgotten(wire: Plugin, host: Host, outside: Outside, new_namespace: New) -> None:
    """A pod that asks a server outside on the same port goes on as it was."""
    client, pod = new_namespace(), new_namespace()
    assert wire.cni_add(configuration("routed"), "client", client.path).ok
    with Service(outside, "server", 5353):
        assert ask(client, "udp", NEXT[4], 5353, 40000)[0] == "server"
        flows = host.run("conntrack", "-L", "-p", "udp", "--dport", "5353").stdout
        assert wire.cni_add(mapped("routed", port(5353, 53, "UDP")), "box", pod.path).ok
        after = host.run("conntrack", "-L", "-p", "udp", "--dport", "5353").stdout
    assert flows.strip() and flows.split("udp")[1].split()[2:6] == after.split("udp")[1].split()[2:6]


def test_check_finds_a_missing_mapping(oneshot_plugin: Plugin, host: Host, pod: Namespace) -> None:
    """In the firewall, and as the device's name."""
    config = mapped("routed", port(8080))
    added = oneshot_plugin.cni_add(config, "box", pod.path)
    checked = {**config, "prevResult": added.document}
    assert oneshot_plugin.cni_check(checked, "box", pod.path).ok
    host.run("nft", "flush", "map", "inet", "podwire-ports", "any4")
    refused = oneshot_plugin.cni_check(checked, "box", pod.path)
    assert refused.code == 104 and "host ports" in refused.message
    host.ip("link", "property", "del", "dev", host_device(added), "altname", "tcp:0.0.0.0:8080")
    refused = oneshot_plugin.cni_check(checked, "box", pod.path)
    assert refused.code == 104 and "tcp:0.0.0.0:8080" in refused.message


def test_sctp_has_its_elements(wire: Plugin, host: Host, pod: Namespace) -> None:
    """Traffic needs a kernel with SCTP; the elements do not."""
    assert wire.cni_add(mapped("routed", port(9000, 9, "SCTP"), families=(4,)), "box", pod.path).ok
    assert any('"sctp", 9000' in each for each in in_table(host))


def test_nobody_else_reaches_the_nodes_loopback(oneshot_plugin: Plugin, host: Host, pod: Namespace) -> None:
    """Routing 127.0.0.1 to pods must not open it to them (CVE-2020-8558): the guard drops what tries."""
    assert oneshot_plugin.cni_add(mapped("routed", port(8080), families=(4,)), "box", pod.path).ok
    pod.run("sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
    for local in ("127.0.0.0/8", "127.0.0.1"):
        pod.ip("route", "del", "local", local, "dev", "lo", "table", "local", check=False)
    pod.ip("route", "add", "127.0.0.1/32", "via", GATEWAY[4], "dev", "eth0", "onlink")
    rule = 'iifname "pw*" ip daddr 127.0.0.1 udp dport 9999 counter'
    chain = f"chain input {{ type filter hook input priority 0; policy accept; {rule}\n}}"
    host.run("nft", "-f", "-", stdin=f"table ip heard {{\n{chain}\n}}\n")

    def heard() -> int:
        ask(pod, "udp", "127.0.0.1", 9999, limit_seconds=0.3)
        words = host.run("nft", "list", "table", "ip", "heard").stdout.split()
        return int(words[words.index("packets") + 1])

    assert heard() == 0
    host.run("nft", "flush", "chain", *TABLE.split()[1:], "guard")
    assert heard() > 0, "the test would not have noticed"


def test_a_chained_portmap_still_works(wire: Plugin, host: Host, outside: Outside, pod: Namespace) -> None:
    """Where it is that plugin which has the capability, podwire makes no mapping of its own."""
    config = configuration("routed", (4,))
    added = wire.cni_add(config, "box", pod.path)
    assert added.ok, added
    portmap = Plugin(tool("portmap"), host)
    chained = {
        "cniVersion": "1.0.0",
        "name": "net",
        "type": "portmap",
        "prevResult": {**added.document, "cniVersion": "1.0.0"},
        "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]},
    }
    mapped_by = portmap.cni_add(chained, "box", pod.path)
    assert mapped_by.ok, mapped_by
    with Service(pod, "shop"):
        for source in (outside, host):
            assert ask(source, "tcp", NODE[4], 8080)[0] == "shop"
    assert not has_table(host)
    assert portmap.cni_del(chained, "box", pod.path).ok
