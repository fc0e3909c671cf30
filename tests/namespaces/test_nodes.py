# SPDX-License-Identifier: Apache-2.0
"""Pods of different nodes: they reach each other with their own addresses, and the outside with the node's."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.agent import Agent
from tests.support.cluster import OUTSIDE, MakeCluster, Node
from tests.support.namespace import Namespace, wait_until

RESTORE_SECONDS = 3.0
PROBE = (
    "import socket,sys\n"
    "family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s=socket.socket(family,socket.SOCK_DGRAM); s.settimeout(5)\n"
    "s.sendto(b'who',(sys.argv[1],7777)); print(s.recvfrom(200)[0].decode())\n"
)
ECHO = (
    "import socket,sys\n"
    "family=socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
    "s=socket.socket(family,socket.SOCK_DGRAM); s.bind((sys.argv[1],7777))\n"
    "print('ready',flush=True)\n"
    "while True:\n"
    "  data,peer=s.recvfrom(200); s.sendto(peer[0].encode(),peer)\n"
)


@pytest.fixture
def listen_in() -> Iterator[Callable[[Namespace, str], None]]:
    """Starts a UDP server in a namespace that answers with the address it saw."""
    running: list[subprocess.Popen[bytes]] = []

    def start(namespace: Namespace, address: str) -> None:
        process = namespace.popen(sys.executable, "-c", ECHO, address)
        running.append(process)
        assert process.stdout and process.stdout.readline() == b"ready\n"

    yield start
    for process in running:
        process.kill()
        process.wait()


def source_seen(pod: Namespace, address: str) -> str:
    return pod.run(sys.executable, "-c", PROBE, address).stdout.strip()


@pytest.mark.parametrize("mode", ["routed", "bridge"])
@pytest.mark.parametrize("segments", [(0, 0), (0, 1)], ids=["l2", "routed-underlay"])
@pytest.mark.parametrize("family", ["v4", "v6", "dual"])
def test_pods_of_two_nodes_reach_each_other_and_the_outside(
    make_cluster: MakeCluster,
    listen_in: Callable[[Namespace, str], None],
    mode: str,
    segments: tuple[int, int],
    family: str,
) -> None:
    cluster = make_cluster(segments=segments, family=family, mode=mode)
    cluster.start_all()
    first, second = cluster.nodes
    one, two = cluster.add_pod(first, "one"), cluster.add_pod(second, "two")
    for version in cluster.families:
        listen_in(two, second.ip("two", version))
        listen_in(cluster.router, OUTSIDE[version])
        assert one.pings(second.ip("two", version))
        assert source_seen(one, second.ip("two", version)) == first.ip("one", version)
        node_address = first.addresses()[cluster.families.index(version)]
        assert source_seen(one, OUTSIDE[version]) == node_address
        assert first.host.pings(second.ip("two", version)), "the host itself reaches pods of other nodes"
        devices = {row["dev"] for row in first.host.routes(version) if row["dst"] in second.pod_cidrs()}
        assert devices == (
            {"eth0"} if segments == (0, 0) else {"podwire-vx4" if 4 in cluster.families else "podwire-vx6"}
        )


@pytest.mark.failure_mode("a node is Ready before its network is")
def test_the_runtime_gets_its_configuration_last(make_cluster: MakeCluster) -> None:
    """At the first moment at which a runtime could find it, it is whole, the network is there and calls are served."""
    cluster = make_cluster(segments=(0, 0))
    first = cluster.nodes[0]
    conflist = first.folder / "net.d" / "10-podwire.conflist"
    first.file.write_text(cluster.settings(first))
    found: list[object] = []

    def look() -> None:
        until = time.monotonic() + 30
        while not conflist.exists() and time.monotonic() < until:
            time.sleep(0.0002)
        text = conflist.read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            found.append(client.connect_ex(str(first.folder / "agent.sock")))
        found.append("10.244.1.0/24" in [row["dst"] for row in first.host.routes(4)])
        found.append(json.loads(text)["name"])

    looking = threading.Thread(target=look)
    looking.start()
    first.agent = Agent(first.host, first.folder, ["--config", str(first.file)])
    looking.join()
    assert found == [0, True, "podwire"]
    assert [path.name for path in conflist.parent.iterdir()] == [conflist.name], "nothing is left beside"


@pytest.mark.failure_mode("MTU black holes")
def test_full_size_packets_pass_and_too_large_ones_are_told_so(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 1))
    cluster.start_all()
    first, second = cluster.nodes
    one, _ = cluster.add_pod(first, "one"), cluster.add_pod(second, "two")
    there = second.ip("two", 4)
    fits = ("ping", "-n", "-q", "-c1", "-W2", "-M", "do", "-s", str(1450 - 28), there)
    assert one.run(*fits, check=False).returncode == 0
    told = one.run("ping", "-n", "-c1", "-W2", "-M", "do", "-s", str(1500 - 28), there, check=False)
    assert "mtu = 1450" in told.stdout + told.stderr or "mtu=1450" in told.stdout + told.stderr


def test_a_tunnel_can_be_forced_and_forbidden(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0))
    cluster.start_all(tunnel="always")
    first, second = cluster.nodes
    one, _ = cluster.add_pod(first, "one"), cluster.add_pod(second, "two")
    assert one.pings(second.ip("two", 4))
    assert {row["dev"] for row in first.host.routes(4) if row["dst"] == "10.244.1.0/24"} == {"podwire-vx4"}
    first.file.write_text(cluster.settings(first, tunnel="never"))
    assert wait_until(lambda: "podwire-vx4" not in first.host.links())
    assert {row["dev"] for row in first.host.routes(4) if row["dst"] == "10.244.1.0/24"} == {"eth0"}


BREAKS = {
    "route": ["ip", "route", "del", "10.244.1.0/24"],
    "nft table": ["nft", "delete", "table", "inet", "podwire-podwire"],
    "vxlan device": ["ip", "link", "del", "podwire-vx4"],
    "vxlan device down": ["ip", "link", "set", "podwire-vx4", "down"],
    "gateway device": ["ip", "link", "del", "podwire0"],
    "gateway address": ["ip", "addr", "flush", "dev", "podwire0"],
    "sysctl": ["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"],
    "neighbour": ["ip", "neigh", "flush", "nud", "permanent", "dev", "podwire-vx4"],
    "forward drop": [
        "nft",
        "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }",
    ],
}


@pytest.mark.failure_mode("Docker's FORWARD DROP")
@pytest.mark.parametrize("what", BREAKS)
def test_changes_by_others_are_restored_within_seconds_and_logged(make_cluster: MakeCluster, what: str) -> None:
    cluster = make_cluster(segments=(0, 1))
    cluster.start_all()
    first, second = cluster.nodes
    one, _ = cluster.add_pod(first, "one"), cluster.add_pod(second, "two")
    assert one.pings(second.ip("two", 4))
    before = (first.host.routes(4), sorted(first.host.links()))
    assert first.agent
    log = first.agent.log.read_text()
    first.host.run(*BREAKS[what])

    def restored() -> bool:
        return "restored:" in first.agent.log.read_text()[len(log) :] if first.agent else False

    assert wait_until(restored, RESTORE_SECONDS * 4), first.agent.log.read_text()
    assert wait_until(lambda: (first.host.routes(4), sorted(first.host.links())) == before), what
    assert one.pings(second.ip("two", 4)) and one.pings(OUTSIDE[4])
    assert first.host.sysctl("net.ipv4.ip_forward") == "1"
    settled = first.agent.log.read_text()
    time.sleep(1.5)
    assert first.agent.log.read_text() == settled, "restored once, not for ever"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_stream_between_pods_survives_the_agents_end(make_cluster: MakeCluster, end: str) -> None:
    cluster = make_cluster(segments=(0, 1))
    cluster.start_all()
    first, second = cluster.nodes
    one, two = cluster.add_pod(first, "one"), cluster.add_pod(second, "two")
    server = two.popen(
        sys.executable,
        "-c",
        "import socket\ns=socket.create_server(('',7000)); print('ready',flush=True)\n"
        "c,_=s.accept()\nwhile d:=c.recv(100): c.sendall(d)",
    )
    assert server.stdout and server.stdout.readline() == b"ready\n"
    client = subprocess.Popen(
        one.argv(
            sys.executable,
            "-c",
            "import socket,sys\ns=socket.create_connection((sys.argv[1],7000),5); s.settimeout(5)\n"
            "for line in sys.stdin.buffer:\n s.sendall(line); print(s.recv(100).decode(),end='',flush=True)",
            second.ip("two", 4),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert client.stdin and client.stdout and first.agent

        def echo(word: str) -> str:
            assert client.stdin and client.stdout
            print(word, file=client.stdin, flush=True)
            return client.stdout.readline().strip()

        assert echo("before") == "before"
        getattr(first.agent, end)()
        assert echo("without") == "without"
        cluster.start(first)
        assert echo("after") == "after"
    finally:
        for process in (client, server):
            process.kill()
            process.wait()


def test_a_broken_file_is_refused_with_its_line_and_changes_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.start_all()
    first = cluster.nodes[0]
    assert first.agent
    before = first.host.routes(4)
    first.file.write_text(
        cluster.settings(first)
        + '[[peers]]\nname = "node-0"\naddresses = ["192.168.30.99"]\npod_cidrs = ["10.244.9.0/24"]\n'
    )
    assert wait_until(lambda: "own name" in first.agent.log.read_text() if first.agent else False)
    refusal = next(line for line in first.agent.log.read_text().splitlines() if "own name" in line)
    line = first.file.read_text().splitlines().index('name = "node-0"', 5) + 1
    assert f"{first.file}:{line}:" in refusal and "the last settings stay in force" in refusal
    assert first.host.routes(4) == before


def test_a_peer_comes_and_goes_with_the_file(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 0, 0))
    first, second, third = cluster.nodes
    cluster.start(first, peers=[second])
    assert not [row for row in first.host.routes(4) if row["dst"] == "10.244.2.0/24"]
    first.file.write_text(cluster.settings(first, peers=[second, third]))
    assert wait_until(lambda: any(row["dst"] == "10.244.2.0/24" for row in first.host.routes(4)))
    first.file.write_text(cluster.settings(first, peers=[third]))
    assert wait_until(lambda: "10.244.1.0/24" not in [row["dst"] for row in first.host.routes(4)])
    assert "10.244.2.0/24" in [row["dst"] for row in first.host.routes(4)]


@pytest.mark.failure_mode("uninstall leaves things")
def test_uninstall_leaves_the_host_as_it_was(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(segments=(0, 1))
    first = cluster.nodes[0]

    def picture(node: Node) -> object:
        return (
            sorted(node.host.links()),
            node.host.routes(4),
            node.host.ruleset(),
            node.host.ip("neigh", "show", "nud", "permanent"),
        )

    before = picture(first)
    cluster.start_all()
    cluster.add_pod(first, "one")
    assert picture(first) != before and first.agent
    first.agent.stop()
    podwire = str(Path(sys.executable).parent / "podwire")
    folders = ("--bin-dir", str(first.folder / "bin"), "--conf-dir", str(first.folder / "net.d"))
    done = first.host.run(podwire, "uninstall", *folders)
    assert "nothing of podwire is left" in done.stdout
    assert picture(first) == before and not list((first.folder / "net.d").iterdir())


def test_an_address_that_cannot_listen_is_no_reason_for_a_traceback(tmp_path: Path, host: Namespace) -> None:
    podwire = str(Path(sys.executable).parent / "podwire")
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = host.run(podwire, "agent", "--socket", str(blocked), check=False)
    assert done.returncode == 1 and "no socket" in done.stderr and "Traceback" not in done.stderr
    long = tmp_path / ("x" * 120)
    done = host.run(podwire, "agent", "--socket", str(long), check=False)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.bind(str(tmp_path / "taken.sock"))
        other.listen()
        done = host.run(podwire, "agent", "--socket", str(tmp_path / "taken.sock"), check=False)
        assert done.returncode == 1 and "serves" in done.stderr
