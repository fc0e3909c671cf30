# SPDX-License-Identifier: Apache-2.0
"""Host ports end with their pod: by DEL, by a namespace that dies, by an agent that is killed, by uninstall."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.namespaces.ground import MODES, NODE, Outside, host_device, ips
from tests.namespaces.mapping import TABLE, has_table, in_table, mapped, port
from tests.namespaces.service import Service, ask
from tests.support.agent import PODWIRE, Agent
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin

New = Callable[[], Namespace]


@pytest.mark.failure_mode("a host port that stays taken, or leads to a pod that is gone")
@pytest.mark.parametrize("given", ["netns", "nothing"])
@pytest.mark.parametrize("mode", MODES)
def test_del_leaves_nothing(wire: Plugin, host: Host, new_namespace: New, mode: str, given: str) -> None:
    """Also where the runtime tells neither the namespace nor the mappings, as in a forced removal."""
    config = mapped(mode, port(8080), port(5353, 53, "udp"))
    kept = new_namespace()
    assert wire.cni_add(mapped(mode, port(81)), "kept", kept.path).ok
    before = in_table(host)
    pod = new_namespace()
    assert wire.cni_add(config, "box", pod.path).ok
    assert len(in_table(host)) > len(before)
    plain = {key: value for key, value in config.items() if key != "runtimeConfig"}
    if given == "netns":
        assert wire.cni_del(config, "box", pod.path).ok
    else:
        pod.delete()
        assert wire.cni_del(plain, "box", "").ok
    assert in_table(host) == before
    assert wire.cni_del(plain, "kept", kept.path).ok
    assert not has_table(host)
    settings = [f"net.ipv4.conf.{device}.route_localnet" for device in host.links() if device != "lo"]
    assert [host.sysctl(each) for each in settings] == ["0"] * len(settings)


def test_pods_without_host_ports_have_no_table(wire: Plugin, host: Host, pod: Namespace) -> None:
    """Nothing is made for a feature that nobody uses."""
    assert wire.cni_add(mapped("routed", port(0)), "box", pod.path).ok
    assert not has_table(host)


@pytest.mark.failure_mode("a host port that stays taken, or leads to a pod that is gone")
def test_ports_of_a_namespace_that_dies_are_removed(
    plugin: Plugin, host: Host, agent: Agent, new_namespace: New
) -> None:
    """Without any DEL; the log says so."""
    pod, kept = new_namespace(), new_namespace()
    assert plugin.cni_add(mapped("routed", port(81)), "kept", kept.path).ok
    before = in_table(host)
    assert plugin.cni_add(mapped("routed", port(8080)), "box", pod.path).ok
    pod.delete()
    assert wait_until(lambda: in_table(host) == before), in_table(host)
    assert wait_until(lambda: "restored: nft delete element inet podwire-ports" in agent.log.read_text())


@pytest.mark.failure_mode("a host port that stays taken, or leads to a pod that is gone")
def test_ports_of_a_pod_that_died_without_an_agent_are_removed(
    oneshot_plugin: Plugin, host: Host, pod: Namespace
) -> None:
    """An agent that starts looks at everything."""
    assert oneshot_plugin.cni_add(mapped("routed", port(8080)), "box", pod.path).ok
    pod.delete()
    assert wait_until(lambda: not any(name.startswith("pw") for name in host.links() if name != "podwire0"))
    assert has_table(host)
    with Agent(host):
        assert wait_until(lambda: not has_table(host))


@pytest.mark.failure_mode("a host port that stays taken, or leads to a pod that is gone")
def test_the_next_add_replaces_what_a_dead_pod_left(
    oneshot_plugin: Plugin, host: Host, outside: Outside, new_namespace: New
) -> None:
    """Without any agent: the port is free, and what else was left goes as well."""
    dead, pod = new_namespace(), new_namespace()
    both = mapped("routed", port(8080), port(8081))
    gone = oneshot_plugin.cni_add(both, "dead", dead.path)
    dead.delete()
    assert wait_until(lambda: host_device(gone) not in host.links())
    assert oneshot_plugin.cni_add(mapped("routed", port(8080)), "box", pod.path).ok
    rows = in_table(host)
    assert rows and not any("8081" in each or f'"{ips(gone)[0]}"' in each for each in rows)
    with Service(pod, "new"):
        assert ask(outside, "tcp", NODE[4], 8080)[0] == "new"


def test_a_flushed_firewall_is_restored(plugin: Plugin, host: Host, pod: Namespace) -> None:
    """What the table must hold is known from the devices."""
    assert plugin.cni_add(mapped("routed", port(8080), port(53, 53, "udp", NODE[4])), "box", pod.path).ok
    before = in_table(host)
    assert before
    host.run("nft", "flush", "ruleset")
    assert wait_until(lambda: in_table(host) == before)
    host.run("nft", "flush", "chain", *TABLE.split()[1:], "guard")
    assert wait_until(lambda: "127.0.0.0/8 drop" in host.ruleset())


def test_uninstall_takes_the_table(oneshot_plugin: Plugin, host: Host, pod: Namespace, tmp_path: Path) -> None:
    """And the egress devices."""
    limits = {"IngressRate": 8_000_000, "EgressRate": 8_000_000}
    config = mapped("routed", port(8080))
    config["runtimeConfig"]["bandwidth"] = limits
    assert oneshot_plugin.cni_add(config, "box", pod.path).ok
    assert PODWIRE.parent == Path(sys.executable).parent
    folders = ("--bin-dir", str(tmp_path / "bin"), "--conf-dir", str(tmp_path / "conf"))
    done = host.run(str(PODWIRE), "uninstall", *folders, "--socket", str(tmp_path / "none.sock"))
    assert "nothing of podwire is left" in done.stdout
    assert host.ruleset() == "" and list(host.links()) == ["lo"]


@pytest.mark.failure_mode("a host port that stays taken, or leads to a pod that is gone")
@pytest.mark.parametrize("delay_ms", [0, 2, 5, 10, 20])
def test_an_agent_killed_during_add_leaves_nothing_after_del(
    bin_dir: Path, host: Host, pod: Namespace, delay_ms: int, tmp_path: Path
) -> None:
    """Whatever it had done by then; and the port is free."""
    config = mapped("routed", port(8080), families=(4,))
    config["runtimeConfig"]["bandwidth"] = {"ingressRate": 8_000_000, "egressRate": 8_000_000}
    with Agent(host) as agent:
        plugin = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(agent.socket)})
        running = plugin.start(plugin.variables("ADD", "box", pod.path, "eth0"), json.dumps(config).encode())
        time.sleep(delay_ms / 1000)
        agent.kill()
        running.wait(60)
    alone = Plugin(bin_dir / "podwire", host, environment={"PODWIRE_SOCKET": str(tmp_path / "none.sock")})
    assert alone.cni_del(config, "box", pod.path).ok
    assert not has_table(host)
    assert set(host.links()) <= {"lo", "podwire0"}
    with Namespace() as other:
        assert alone.cni_add(config, "other", other.path).ok
