# SPDX-License-Identifier: Apache-2.0
"""`podwire check` on several nodes: no failure in a healthy cluster; for each fault the hop, the cause and the node."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.report import Failure, Report
from podwire.diagnose.run import check
from tests.support.cluster import OUTSIDE, Cluster, MakeCluster, Node
from tests.support.namespace import Namespace, wait_until

PODWIRE = str(Path(sys.executable).parent / "podwire")
SEGMENTS = {"l2": (0, 0), "routed-underlay": (0, 1)}
SHORT_SECONDS = 0.6
PATIENT_SECONDS = 5.0
POD_ONE, POD_TWO, POD_FAR = "one-0", "two-0", "one-1"
WRONG_MAC = "02:00:00:00:00:99"


def fill(cluster: Cluster) -> None:
    """Two pods on the first node, one on every other."""
    for node in cluster.nodes:
        cluster.add_pod(node, f"one-{node.number}")
    cluster.add_pod(cluster.nodes[0], POD_TWO)


def endpoints(cluster: Cluster) -> list[Endpoint]:
    """All endpoints: hosts, pods (their addresses are read from their namespaces) and the outside."""
    found = [
        Endpoint(
            node.name, "host", node.name, tuple(ip_address(text) for text in node.addresses()), str(node.host.path)
        )
        for node in cluster.nodes
    ]
    for node in cluster.nodes:
        found += [Endpoint(name, "pod", node.name, (), str(pod.path)) for name, pod in node.pods.items()]
    outside = tuple(ip_address(OUTSIDE[family]) for family in cluster.families)
    return [*found, Endpoint("internet", "outside", "", outside, str(cluster.router.path))]


def failure(report: Report, source: str, target: str, family: int = 4) -> Failure:
    """The failure between two endpoints; there must be exactly one."""
    found = [
        found_failure
        for found_failure in report.failures
        if (found_failure.source, found_failure.target, found_failure.family) == (source, target, family)
    ]
    assert len(found) == 1, [found_failure.headline for found_failure in report.failures]
    return found[0]


@pytest.mark.failure_mode("MTU black holes")
@pytest.mark.parametrize(
    ("mode", "underlay", "family"),
    [
        ("routed", "l2", "v4"),
        ("routed", "l2", "dual"),
        ("routed", "routed-underlay", "dual"),
        ("routed", "routed-underlay", "v6"),
        ("bridge", "l2", "v6"),
        ("bridge", "l2", "dual"),
        ("bridge", "routed-underlay", "v4"),
        ("bridge", "routed-underlay", "dual"),
    ],
)
def test_a_healthy_cluster_has_no_failures(make_cluster: MakeCluster, mode: str, underlay: str, family: str) -> None:
    cluster = make_cluster(segments=SEGMENTS[underlay], mode=mode, family=family)
    cluster.start_all()
    fill(cluster)
    report = check(endpoints(cluster), timeout_seconds=PATIENT_SECONDS)
    assert report.ok, [
        (found_failure.headline, found_failure.cause, found_failure.seen) for found_failure in report.failures
    ]
    first = cluster.nodes[0]
    for version in cluster.families:
        own, node = first.ip(POD_ONE, version), first.addresses()[cluster.families.index(version)]
        seen = {
            (outcome.probe.target, outcome.probe.method): str(outcome.seen)
            for outcome in report.outcomes
            if outcome.probe.source == POD_ONE and outcome.probe.family == version
        }
        for method in ("tcp", "udp"):
            assert seen[POD_FAR, method] == seen[POD_TWO, method] == seen["node-0", method] == own
            assert seen["internet", method] == node
        sizes = {
            (outcome.probe.source, outcome.probe.target): outcome.mtu
            for outcome in report.outcomes
            if outcome.probe.method == "mtu" and outcome.probe.family == version
        }
        assert sizes[POD_ONE, POD_TWO] == 1500
        tunnel = 1450 if 4 in cluster.families else 1430
        assert sizes[POD_ONE, POD_FAR] == (1500 if underlay == "l2" else tunnel)
    assert {outcome.probe.method for outcome in report.outcomes} == {"ping", "tcp", "udp", "mtu"}


def host_of(cluster: Cluster, number: int) -> Namespace:
    return cluster.nodes[number].host


def pod(cluster: Cluster, name: str) -> Namespace:
    return cluster.nodes[int(name[-1])].pods[name]


def device_of(node: Node, name: str) -> str:
    """The host's device of a pod in routed mode."""
    return next(str(row["dev"]) for row in node.host.routes(4) if row["dst"] == node.ip(name, 4))


def base_chain(hook: str, rule: str = "", policy: str = "accept", family: str = "inet") -> str:
    chain = f"{family} foreign c"
    text = f"add table {family} foreign; add chain {chain} {{ type filter hook {hook} priority 0; policy {policy}; }}"
    return f"{text}; add rule {chain} {rule}" if rule else text


class Fault(NamedTuple):
    """A fault, the probes that it breaks, and the expected report: the hop, the endpoint to repair, the cause."""

    breaks: Callable[[Cluster], object]
    hop: str
    at: str
    cause: str
    source: str = POD_ONE
    target: str = POD_FAR
    underlay: str = "routed-underlay"
    mode: str = "routed"
    family: int = 4
    methods: tuple[str, ...] = ("ping", "tcp", "udp")


def wrong_far_neighbour(cluster: Cluster) -> None:
    node = cluster.nodes[1]
    to = (node.ip(POD_FAR, 4), "lladdr", WRONG_MAC, "dev", device_of(node, POD_FAR))
    node.host.run("ip", "neigh", "replace", *to, "nud", "permanent")


def small_wire(cluster: Cluster) -> None:
    cluster.router.run("ip", "link", "set", "to1", "mtu", "1400")
    host_of(cluster, 1).run("ip", "link", "set", "eth0", "mtu", "1400")


def strict_reverse_path(cluster: Cluster) -> None:
    host_of(cluster, 1).run("ip", "route", "del", "10.244.0.0/24")
    host_of(cluster, 1).run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.podwire-vx4.rp_filter=1")


FAULTS = {
    "route removed": Fault(
        lambda c: host_of(c, 0).run("ip", "route", "del", "10.244.1.0/24"),
        "between node-0 and node-1",
        "node-0",
        "node-0 has only the default route to 10.244.1.2",
    ),
    "route removed, l2": Fault(
        lambda c: host_of(c, 0).run("ip", "route", "del", "10.244.1.0/24"),
        "between node-0 and node-1",
        "node-0",
        "has only the default route to",
        underlay="l2",
    ),
    "route back removed": Fault(
        lambda c: host_of(c, 1).run("ip", "route", "del", "10.244.0.0/24"),
        "on the way back, between node-1 and node-0",
        "node-1",
        "node-1 has only the default route to 10.244.0.2",
        underlay="l2",
    ),
    "route removed, v6": Fault(
        lambda c: host_of(c, 0).run("ip", "-6", "route", "del", "fd00:10:244:1::/64"),
        "between node-0 and node-1",
        "node-0",
        "has only the default route to",
        family=6,
    ),
    "VXLAN device down": Fault(
        lambda c: host_of(c, 0).run("ip", "link", "set", "podwire-vx4", "down"),
        "between node-0 and node-1",
        "node-0",
        "the VXLAN device podwire-vx4 is down",
    ),
    "VXLAN device of the peer removed": Fault(
        lambda c: host_of(c, 1).run("ip", "link", "del", "podwire-vx4"),
        "in node-1",
        "node-1",
        "arrives at node-1, which has no VXLAN device",
    ),
    "VXLAN forwarding entries flushed": Fault(
        lambda c: host_of(c, 0).run("bridge", "fdb", "flush", "dev", "podwire-vx4"),
        "in node-0",
        "node-0",
        "sends it to podwire-vx4, which sends nothing",
    ),
    "VXLAN dropped between the nodes": Fault(
        lambda c: c.router.run("nft", base_chain("forward", "udp dport 4789 drop")),
        "between node-0 and node-1",
        "node-0",
        "VXLAN to 192.168.31.11 leaves node-0 by eth0 and does not arrive",
    ),
    "VXLAN dropped by the peer's firewall": Fault(
        lambda c: host_of(c, 1).run("nft", base_chain("input", "udp dport 4789 drop")),
        "in node-1",
        "node-1",
        "the firewall of node-1 drops it",
    ),
    "FORWARD policy drop": Fault(
        lambda c: host_of(c, 1).run("iptables", "-P", "FORWARD", "DROP"),
        "in node-1",
        "node-1",
        "chain ip filter FORWARD: policy drop",
    ),
    "FORWARD policy drop, nft, v6": Fault(
        lambda c: host_of(c, 0).run("nft", base_chain("forward", policy="drop", family="ip6")),
        "in node-0",
        "node-0",
        "chain ip6 foreign c: policy drop",
        target=POD_TWO,
        family=6,
    ),
    "FORWARD policy drop, bridge mode": Fault(
        lambda c: host_of(c, 0).run("nft", base_chain("forward", policy="drop")),
        "in node-0",
        "node-0",
        "chain inet foreign c: policy drop",
        mode="bridge",
    ),
    "UDP alone dropped": Fault(
        lambda c: host_of(c, 0).run("nft", base_chain("forward", "meta l4proto udp drop")),
        "in node-0",
        "node-0",
        "the firewall of node-0 drops it: rule",
        methods=("udp",),
    ),
    "TCP dropped by the pod itself": Fault(
        lambda c: pod(c, POD_FAR).run("nft", base_chain("input", "meta l4proto tcp drop")),
        "in one-1",
        "one-1",
        "the firewall of one-1 drops it",
        methods=("tcp",),
    ),
    "ip_forward 0": Fault(
        lambda c: host_of(c, 0).run("sysctl", "-qw", "net.ipv4.ip_forward=0"),
        "in node-0",
        "node-0",
        "net.ipv4.ip_forward is 0",
    ),
    "forwarding 0, v6": Fault(
        lambda c: host_of(c, 1).run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"),
        "in node-1",
        "node-1",
        "net.ipv6.conf.all.forwarding is 0",
        underlay="l2",
        family=6,
    ),
    "masquerade removed": Fault(
        lambda c: host_of(c, 0).run("nft", "delete table inet podwire-podwire"),
        "in internet",
        "node-0",
        "it is not masqueraded",
        target="internet",
    ),
    "masquerade inside the cluster": Fault(
        lambda c: host_of(c, 0).run(
            *("iptables", "-t", "nat", "-A", "POSTROUTING", "-s", "10.244.0.0/24", "-o", "eth0", "-j", "MASQUERADE")
        ),
        "in node-0",
        "node-0",
        "node-0 masquerades inside the cluster",
        underlay="l2",
        methods=("tcp", "udp"),
    ),
    "ICMP dropped": Fault(
        lambda c: host_of(c, 0).run("nft", base_chain("output", "icmp type destination-unreachable drop")),
        "in node-0",
        "node-0",
        "its ICMP error is dropped: rule",
        methods=("mtu",),
    ),
    "ICMP dropped, v6": Fault(
        lambda c: host_of(c, 0).run("nft", base_chain("output", "icmpv6 type packet-too-big drop")),
        "in node-0",
        "node-0",
        "its ICMP error is dropped: rule",
        family=6,
        methods=("mtu",),
    ),
    "underlay smaller than its MTU": Fault(
        small_wire,
        "between node-0 and node-1",
        "node-0",
        "carries less than the MTU of eth0",
        underlay="l2",
        methods=("mtu",),
    ),
    "pod's default route removed": Fault(
        lambda c: pod(c, POD_ONE).run("ip", "route", "del", "default"),
        "in one-0",
        "one-0",
        "one-0 has no route to 10.244.1.2",
    ),
    "far pod's default route removed": Fault(
        lambda c: pod(c, POD_FAR).run("ip", "route", "del", "default"),
        "in one-1",
        "one-1",
        "one-1 has no route to 10.244.0.2",
    ),
    "pod's default route removed, bridge mode": Fault(
        lambda c: pod(c, POD_ONE).run("ip", "-6", "route", "del", "default"),
        "in one-0",
        "one-0",
        "one-0 has no route to fd00:10:244:1::2",
        mode="bridge",
        family=6,
    ),
    "pod's gateway with a wrong MAC": Fault(
        lambda c: pod(c, POD_ONE).run(
            *("ip", "neigh", "replace", "10.244.0.1", "lladdr", WRONG_MAC, "dev", "eth0", "nud", "permanent")
        ),
        "in node-0",
        "one-0",
        f"one-0 sends to MAC {WRONG_MAC}",
    ),
    "far pod with a wrong MAC": Fault(
        wrong_far_neighbour, "in one-1", "node-1", f"node-1 sends to MAC {WRONG_MAC}, but eth0 of one-1"
    ),
    "pod's device down": Fault(
        lambda c: pod(c, POD_ONE).run("ip", "link", "set", "eth0", "down"), "in one-0", "one-0", "eth0 is down in one-0"
    ),
    "host's device down": Fault(
        lambda c: host_of(c, 0).run("ip", "link", "set", device_of(c.nodes[0], POD_ONE), "down"),
        "in one-0",
        "one-0",
        "eth0 of one-0 has no carrier",
    ),
    "strict reverse path": Fault(
        strict_reverse_path, "in node-1", "node-1", "the reverse path filter of node-1 drops packets from 10.244.0.2"
    ),
    "peer disconnected": Fault(
        lambda c: c.router.run("ip", "link", "set", "to1", "down"),
        "in node-0",
        "node-0",
        "192.168.30.11 does not answer node-0 on eth0",
        underlay="l2",
    ),
}


@pytest.mark.failure_mode("MTU black holes")
@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_is_reported_with_its_hop(make_cluster: MakeCluster, what: str) -> None:
    fault = FAULTS[what]
    family = "dual" if fault.family == 6 else "v4"
    cluster = make_cluster(segments=SEGMENTS[fault.underlay], mode=fault.mode, family=family)
    cluster.start_all()
    fill(cluster)
    for node in cluster.nodes:
        assert node.agent
        node.agent.stop()  # it would repair the fault
    fault.breaks(cluster)
    report = check(endpoints(cluster), timeout_seconds=SHORT_SECONDS)
    assert not report.ok
    found = failure(report, fault.source, fault.target, fault.family)
    told = f"{found.headline}\n{found.cause}\n{found.advice}\n" + "\n".join(found.seen)
    assert (found.hop, found.at) == (fault.hop, fault.at), told
    assert fault.cause in found.cause, told
    assert found.methods == fault.methods and found.command and found.advice
    if fault.methods != ("mtu",):
        assert fault.mode == "bridge" or not [other for other in report.failures if other.family != fault.family], told


def test_a_peer_that_is_not_in_the_settings_is_named(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 1))
    cluster.start(cluster.nodes[0])
    cluster.start(cluster.nodes[1], peers=[])
    fill(cluster)
    report = check(endpoints(cluster), timeout_seconds=SHORT_SECONDS)
    there, back = failure(report, POD_ONE, POD_FAR), failure(report, POD_FAR, POD_ONE)
    assert (there.at, there.hop) == ("node-1", "in node-1") and "no VXLAN device" in there.cause
    assert (back.at, back.hop) == ("node-1", "between node-1 and node-0") and "among the peers" in back.advice
    assert not [
        other for other in report.failures if {other.source, other.target} <= {POD_ONE, POD_TWO, "node-0", "internet"}
    ]


def test_the_command_that_is_shown_shows_the_fault(make_cluster: MakeCluster) -> None:
    """The command in the report can be run as it is."""
    cluster = make_cluster(segments=(0, 0))
    cluster.start_all()
    fill(cluster)
    assert cluster.nodes[0].agent
    cluster.nodes[0].agent.stop()
    host_of(cluster, 0).run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    found = failure(check(endpoints(cluster), timeout_seconds=SHORT_SECONDS), POD_ONE, POD_FAR)
    assert found.command[:2] == ("nsenter", f"--net={host_of(cluster, 0).path}")
    assert host_of(cluster, 1).run(*found.command).stdout.split() == ["net.ipv4.ip_forward", "=", "0"]


def parsed(xml: Path) -> ElementTree.Element:
    return ElementTree.parse(xml).getroot()  # noqa: S314 -- our own file


def topology(cluster: Cluster, path: Path, pids: Mapping[str, int] | None = None) -> Path:
    rows = [
        {
            "name": endpoint.name,
            "kind": endpoint.kind,
            "node": endpoint.node,
            "addresses": [str(address) for address in endpoint.addresses],
            **({"pid": pids[endpoint.name]} if pids and endpoint.name in pids else {"netns": endpoint.netns}),
        }
        for endpoint in endpoints(cluster)
    ]
    path.write_text(json.dumps({"endpoints": rows}))
    return path


def test_the_verb_reads_a_topology_and_writes_json_and_junit(make_cluster: MakeCluster, tmp_path: Path) -> None:
    cluster = make_cluster(segments=(0, 0))
    cluster.start_all()
    fill(cluster)
    file, xml = topology(cluster, tmp_path / "topology.json"), tmp_path / "junit.xml"
    argv = (PODWIRE, "check", "--topology", str(file), "--junit", str(xml), "--timeout", str(PATIENT_SECONDS))
    done = host_of(cluster, 0).run(*argv, "-o", "json")
    document = json.loads(done.stdout)
    assert document["ok"] and not document["failures"] and document["probes"] == len(document["results"])
    suites = parsed(xml)
    assert suites.attrib["tests"] == str(document["probes"]) and suites.attrib["failures"] == "0"
    table = host_of(cluster, 0).run(*argv).stdout
    assert "✗" not in table and POD_FAR in table and "passed" in table
    assert cluster.nodes[0].agent
    cluster.nodes[0].agent.stop()
    host_of(cluster, 0).run("nft", base_chain("forward", policy="drop"))
    done = host_of(cluster, 0).run(*argv, "--timeout", str(SHORT_SECONDS), check=False)
    assert done.returncode == 1 and "✗ptu" in done.stdout and "policy drop" in done.stdout
    failed = parsed(xml).findall(".//failure")
    assert failed and all("lost in node-0" in element.attrib["message"] for element in failed)


def test_without_a_file_the_nodes_own_pods_are_checked(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0), family="dual")
    cluster.start_all()
    fill(cluster)
    first = cluster.nodes[0]
    argv = (PODWIRE, "check", "-o", "json", "--timeout", str(PATIENT_SECONDS), "--config", str(first.file))
    to = ("--to", OUTSIDE[4], "--to", OUTSIDE[6])
    document = json.loads(first.host.run(*argv, *to).stdout)
    assert document["ok"]
    called = {(row["from"], row["address"]) for row in document["results"] if row["method"] == "ping"}
    for version in (4, 6):
        own = first.addresses()[(4, 6).index(version)]
        peer = cluster.nodes[1].addresses()[(4, 6).index(version)]
        gateway = {4: "10.244.0.1", 6: "fd00:10:244::1"}[version]
        for address in (own, peer, gateway, OUTSIDE[version], first.ip(POD_TWO, version)):
            assert (POD_ONE, address) in called
    first.host.run("nft", base_chain("forward", f"ip daddr {OUTSIDE[4]} drop"))
    done = first.host.run(*argv, *to, "--timeout", str(SHORT_SECONDS), check=False)
    assert done.returncode == 1
    failures = json.loads(done.stdout)["failures"]
    assert {(row["from"], row["address"]) for row in failures} == {(POD_ONE, OUTSIDE[4]), (POD_TWO, OUTSIDE[4])}
    assert failures and all("inet foreign c: drop" in row["cause"] for row in failures)
    assert failures[0]["command"].startswith("nft "), "no nsenter in the process' own namespace"


def test_a_pods_namespace_is_found_by_its_processes(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """If no file names it, as with runtimes that keep it elsewhere."""
    cluster = make_cluster(segments=(0, 0))
    cluster.start_all()
    fill(cluster)
    first, gone = cluster.nodes[0], pod(cluster, POD_ONE)
    process = gone.popen("sleep", "600")
    try:
        assert wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        file = topology(cluster, tmp_path / "topology.json", pids={POD_ONE: process.pid})
        gone.delete()
        for argv in (["--topology", str(file)], ["--to", OUTSIDE[4]]):
            done = first.host.run(PODWIRE, "check", "-o", "json", "--timeout", str(PATIENT_SECONDS), *argv)
            document = json.loads(done.stdout)
            assert document["ok"] and POD_ONE in {row["from"] for row in document["results"]}
    finally:
        process.kill()
        process.wait()


def test_nothing_is_left_listening(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0))
    cluster.start_all()
    fill(cluster)
    check(endpoints(cluster), timeout_seconds=PATIENT_SECONDS)
    for namespace in (host_of(cluster, 0), pod(cluster, POD_ONE), cluster.router):
        assert namespace.run("ss", "-Hlntuw").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topology", "/does/not/exist"], "name a file that can be read"),
        (["--topology", "@{"], "is not JSON"),
        (["--topology", "@{}"], "endpoints"),
        (["--topology", '@{"endpoints": []}'], "no pod to check from"),
        (["--topology", '@{"endpoints": [{"name": "a", "kind": "pot"}]}'], "pot"),
        (["--topology", '@{"endpoints": [{"name": "a", "kind": "pod", "colour": 1}]}'], "colour"),
        (["--topology", '@{"endpoints": [{"name": "a", "kind": "pod", "node": "n", "netns": "/none"}]}'], "/none"),
        (
            ["--topology", '@{"endpoints": [{"name": "a", "kind": "pod", "node": "n", "netns": "/etc/passwd"}]}'],
            "not a",
        ),
        (["--topology", '@{"endpoints": [{"name": "a", "kind": "pod", "node": "n", "addresses": ["x"]}]}'], "x is not"),
        (["--to", "example.org"], "not an IP address"),
        (["--to", "192.0.2.1:http"], "not a port"),
        (["--timeout", "0"], "--timeout"),
        (["--pods", "-1"], "--pods"),
        ([], "no pod to check from"),
        (["--family", "v5"], "v5"),
    ],
)
def test_unusable_arguments_are_one_line_and_status_2(
    host: Namespace, tmp_path: Path, arguments: list[str], words: str
) -> None:
    file = tmp_path / "topology.json"
    for position, argument in enumerate(arguments):
        if argument.startswith("@"):
            file.write_text(argument[1:])
            arguments = [*arguments[:position], str(file), *arguments[position + 1 :]]
    done = host.run(PODWIRE, "check", *arguments, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 or "usage:" in done.stderr
