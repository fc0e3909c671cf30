# SPDX-License-Identifier: Apache-2.0
"""Hundreds of peers in a node's file: all are reached, one comes, one goes, and all come back after a flush."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.support.agent import Agent
from tests.support.namespace import Host, wait_until

PEERS = 500
OWN = "172.16.0.1"
HEAD = f"""name = "node"
addresses = ["{OWN}"]
pod_cidrs = ["10.255.0.0/24"]
cluster_cidrs = ["10.0.0.0/8"]
[cni]
write = false
"""
FIRST = {"direct": ip_address("172.16.1.0"), "vxlan": ip_address("172.20.1.0")}
PREFIX = {"direct": 14, "vxlan": 24}
DEVICE = {"direct": "eth0", "vxlan": "podwire-vx4"}
RESTORE_SECONDS = 30.0


def pods_of(number: int) -> str:
    return f"10.{number >> 8}.{number & 255}.0/24"


def text(way: str, numbers: Sequence[int]) -> str:
    lines = [HEAD]
    for number in numbers:
        lines += ["[[peers]]", f'name = "node-{number}"', f'addresses = ["{FIRST[way] + number}"]']
        lines += [f'pod_cidrs = ["{pods_of(number)}"]']
    return "\n".join(lines) + "\n"


class BigNode:
    """A node with an underlay that nobody else is on, and the agent with its file."""

    def __init__(self, way: str, host: Host, folder: Path) -> None:
        self.way = way
        self.host = host
        self.file = folder / "podwire.toml"
        host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "segment")
        for device in ("eth0", "segment"):
            host.ip("link", "set", device, "up")
        host.ip("addr", "add", f"{OWN}/{PREFIX[way]}", "dev", "eth0")
        self.write(range(PEERS))
        self.agent = Agent(host, folder, ["--config", str(self.file)])

    def write(self, numbers: Sequence[int]) -> None:
        """Replace the file by renaming, as editors do."""
        beside = self.file.with_suffix(".new")
        beside.write_text(text(self.way, numbers))
        beside.rename(self.file)

    def reached(self) -> dict[str, str]:
        """The gateway of every range that is reached through a peer."""
        rows = self.host.ip("-4", "route", "show", "proto", "112", "dev", DEVICE[self.way], check=False)
        return {row["dst"]: row["gateway"] for row in rows if "gateway" in row}

    def told(self) -> list[tuple[str, str]]:
        """For VXLAN: the MACs and nodes of the forwarding entries, as `bridge fdb` prints them."""
        rows = self.host.run("bridge", "fdb", "show", "dev", DEVICE[self.way], check=False).stdout.splitlines()
        return sorted((row.split()[0], row.split()[2]) for row in rows if " dst " in row)

    def wanted(self, numbers: Sequence[int]) -> dict[str, str]:
        if self.way == "direct":
            return {pods_of(number): str(FIRST["direct"] + number) for number in numbers}
        return {pods_of(number): pods_of(number).replace(".0/24", ".1") for number in numbers}


@pytest.fixture(params=["direct", "vxlan"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BigNode]:
    with Host() as host:
        made = BigNode(request.param, host, tmp_path)
        yield made
        made.agent.stop()


def test_hundreds_of_peers_come_and_go_and_are_restored(node: BigNode) -> None:
    assert node.reached() == node.wanted(range(PEERS)), "all are reached when the agent serves"
    node.write(range(PEERS + 1))
    assert wait_until(lambda: node.reached() == node.wanted(range(PEERS + 1))), node.agent.log.read_text()
    without = [number for number in range(PEERS + 1) if number != PEERS // 2]
    node.write(without)
    assert wait_until(lambda: node.reached() == node.wanted(without)), node.agent.log.read_text()
    assert wait_until(lambda: len(applied(node)) == 3), "the start, one peer more, one less"
    few = 1 if node.way == "direct" else 3
    lines = applied(node)[1:]
    assert lines and all(f"changes={few} " in line for line in lines), "the other peers were not touched"
    told = node.told() if node.way == "vxlan" else []
    assert len({where for _, where in told}) == (len(without) if node.way == "vxlan" else 0)

    node.host.run("ip", "route", "flush", "proto", "112")
    assert wait_until(lambda: node.reached() == node.wanted(without), RESTORE_SECONDS), node.agent.log.read_text()
    if node.way == "vxlan":
        node.host.run("ip", "neigh", "flush", "nud", "permanent", "dev", DEVICE["vxlan"])
        assert wait_until(lambda: neighbours(node) == len(without), RESTORE_SECONDS), node.agent.log.read_text()
        node.host.ip("link", "delete", DEVICE["vxlan"])
        assert wait_until(lambda: node.reached() == node.wanted(without), RESTORE_SECONDS), node.agent.log.read_text()
        assert wait_until(lambda: node.told() == told and neighbours(node) == len(without), RESTORE_SECONDS)


def applied(node: BigNode) -> list[str]:
    """The line of each change of the settings; the first tells of the start."""
    return [line for line in node.agent.log.read_text().splitlines() if "node node: " in line and " changes=" in line]


def neighbours(node: BigNode) -> int:
    return len(node.host.ip("neigh", "show", "nud", "permanent", "dev", DEVICE[node.way], check=False))


def test_a_peer_that_moves_is_followed_and_the_others_stay(node: BigNode) -> None:
    other = str(FIRST[node.way] + (PEERS + 7))
    moved = node.file.read_text().replace(f'"{FIRST[node.way] + 7}"', f'"{other}"')
    before = node.reached()
    node.file.write_text(moved)
    if node.way == "direct":
        assert wait_until(lambda: node.reached() == before | {pods_of(7): other}), node.agent.log.read_text()
    else:
        assert wait_until(lambda: other in {where for _, where in node.told()}), node.agent.log.read_text()
        assert str(FIRST["vxlan"] + 7) not in {where for _, where in node.told()}
        assert len(node.told()) == PEERS and node.reached() == before
