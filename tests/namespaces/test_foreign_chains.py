# SPDX-License-Identifier: Apache-2.0
"""Other people's nftables, of every shape that the kernel takes: pods start all the same, and so does the agent."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from podwire.nft.names import PORTS_TABLE
from tests.namespaces.ground import MODES, configuration
from tests.namespaces.mapping import in_table, mapped, port
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress", "egress")
TYPES = ("filter", "nat", "route")
POLICIES = ("accept", "drop")
OF_A_DEVICE = ("ingress", "egress")
FEWEST_ACCEPTED = 40
"""Of 252; the rest are no hooks of their families, or of no such type."""

FILE = """
name = "node-0"
addresses = ["192.0.2.1"]
pod_cidrs = ["10.244.1.0/24"]
cluster_cidrs = ["10.244.0.0/16"]
[cni]
conf_dir = "{folder}/net.d"
"""


@pytest.fixture(scope="module")
def chains() -> list[str]:
    """A table with one chain for each family, hook and type that this kernel takes, and for each policy."""
    taken = []
    with Host() as host:
        for family, hook, kind in itertools.product(FAMILIES, HOOKS, TYPES):
            for policy in POLICIES:
                place = f"{family} {family}-{hook}-{kind}-{policy}"
                device = 'device "lo"' if hook in OF_A_DEVICE else ""
                chain = f"add chain {place} c {{ type {kind} hook {hook} {device} priority 10; policy {policy}; }}"
                text = f"add table {place}; {chain}"
                if host.run("nft", text, check=False).returncode:
                    break
                taken.append(text)
    assert len(taken) >= FEWEST_ACCEPTED, taken
    for always in ("inet-ingress-filter-accept", "netdev-ingress-filter-accept", "inet-forward-filter-accept"):
        assert any(always in entry for entry in taken), taken
    return taken


@pytest.fixture
def crowded(host: Host, chains: list[str]) -> Host:
    """A node with a foreign chain of every kind, and with rules, sets and chains without a hook."""
    host.run("nft", "; ".join(chains))
    host.run(
        "nft",
        """
        add table inet others
        add chain inet others plain
        add set inet others pairs { type inet_proto . inet_service; }
        add element inet others pairs { dccp . 80 }
        add rule inet others plain meta l4proto . th dport @pairs counter drop comment "not podwire's"
        """,
    )
    return host


@pytest.mark.parametrize("mode", MODES)
def test_pods_start_beside_foreign_chains(crowded: Host, wire: Plugin, pod: Namespace, mode: str) -> None:
    """With masquerade, so that the ruleset is read; and what is foreign stays as it was."""
    before = crowded.run("nft", "list", "table", "inet", "others").stdout
    config = configuration(mode, masquerade=True)
    added = wire.cni_add(config, "box", pod.path)
    assert added.ok, added
    assert "masquerade" in crowded.run("nft", "list", "table", "inet", "podwire-net").stdout
    assert wire.cni_check({**config, "prevResult": added.document}, "box", pod.path).ok
    assert wire.cni_del(config, "box", pod.path).ok
    assert crowded.run("nft", "list", "table", "inet", "others").stdout == before


def test_an_agent_with_a_configuration_starts_beside_foreign_chains(crowded: Host, tmp_path: Path) -> None:
    crowded.ip("link", "add", "eth0", "type", "bridge")
    crowded.ip("link", "set", "eth0", "up")
    crowded.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
    file = tmp_path / "podwire.toml"
    file.write_text(FILE.format(folder=tmp_path))
    with Agent(crowded, tmp_path, ["--config", str(file)]) as agent:
        assert wait_until((tmp_path / "net.d").is_dir), agent.log.read_text()


@pytest.mark.parametrize("hook", ["ingress device lo", "forward"])
def test_a_foreign_chain_in_a_table_of_podwire_is_removed(
    oneshot_plugin: Plugin, host: Host, pod: Namespace, hook: str
) -> None:
    """At any hook, also one that podwire does not use."""
    config = configuration("routed", (4,), masquerade=True)
    assert oneshot_plugin.cni_add(config, "box", pod.path).ok
    before = host.run("nft", "list", "table", "inet", "podwire-net").stdout
    host.run("nft", f"add chain inet podwire-net foreign {{ type filter hook {hook} priority 0; policy accept; }}")
    assert oneshot_plugin.cni_add(config, "next", pod.path, "eth1").ok
    assert host.run("nft", "list", "table", "inet", "podwire-net").stdout == before


@pytest.mark.parametrize("element", ["dccp . 80", "255 . 80", "tcp . 0", "udplite . 53"])
def test_a_foreign_element_in_the_table_of_host_ports_is_removed(
    wire: Plugin, host: Host, pod: Namespace, element: str
) -> None:
    """Also one of a protocol that podwire never writes."""
    config = mapped("routed", port(8080))
    assert wire.cni_add(config, "box", pod.path).ok
    before = in_table(host)
    host.run("nft", f"add element inet {PORTS_TABLE} any4 {{ {element} : 10.0.0.1 . 80 }}")
    added = wire.cni_add(mapped("routed", port(9090)), "next", pod.path, "eth1")
    assert added.ok, added
    assert wire.cni_del(config, "next", pod.path, "eth1").ok
    assert in_table(host) == before
