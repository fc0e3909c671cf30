# SPDX-License-Identifier: Apache-2.0
"""Rates: they limit what a pod receives and sends, as tc shows them, and nothing of them outlives the pod."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.namespaces.ground import MODES, configuration, host_device, ips
from tests.support.agent import Agent
from tests.support.namespace import Host, Namespace, Row, wait_until
from tests.support.plugin import Plugin

New = Callable[[], Namespace]

SINK = """
import socket, sys
with socket.create_server((sys.argv[1], 7)) as listener:
    print("ready", flush=True)
    connection, _ = listener.accept()
    with connection:
        while connection.recv(1 << 16):
            pass
        connection.sendall(b".")
"""
POUR = """
import socket, sys, time
with socket.create_connection((sys.argv[1], 7)) as connection:
    begin = time.monotonic()
    connection.sendall(bytes(int(sys.argv[2])))
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b"."
    print(time.monotonic() - begin)
"""
PORTION_BYTES = 1_000_000
SLOW, FAST = 4_000_000, 16_000_000


def limited(mode: str = "routed", **limits: int) -> dict[str, Any]:
    return configuration(mode, (4,), runtimeConfig={"bandwidth": limits})


def tc(host: Namespace, *words: str) -> list[Row]:
    rows: list[Row] = json.loads(host.run("tc", "-j", *words).stdout or "[]")
    return rows


def seconds_to_send(source: Namespace, target: Namespace, address: str) -> float:
    """How long one portion takes until all of it has arrived."""
    with target.popen(sys.executable, "-c", SINK, address) as sink:
        assert sink.stdout is not None and sink.stdout.readline() == b"ready\n"
        took = float(source.run(sys.executable, "-c", POUR, address, str(PORTION_BYTES)).stdout)
        try:
            sink.wait(10)
        except subprocess.TimeoutExpired:
            sink.kill()
    return took


@pytest.mark.parametrize("side", ["ingress", "egress"])
@pytest.mark.parametrize("mode", MODES)
def test_a_rate_limits_its_own_direction(plugin: Plugin, host: Host, new_namespace: New, mode: str, side: str) -> None:
    """A quarter of the rate takes some four times as long; the other direction is not limited."""
    gateway = "10.244.1.1"
    took = {}
    for rate in (SLOW, FAST):
        pod = new_namespace()
        added = plugin.cni_add(limited(mode, **{f"{side}Rate": rate}), pod.name, pod.path)
        into, out = (host, pod, ips(added)[0]), (pod, host, gateway)
        took[rate] = seconds_to_send(*(into if side == "ingress" else out))
        other = seconds_to_send(*(out if side == "ingress" else into))
        if rate == SLOW:
            assert other < took[rate] / 2, "the other direction is as fast as ever"
        assert plugin.cni_del(limited(mode), pod.name, pod.path).ok
    assert 2 < took[SLOW] / took[FAST] < 8, took


@pytest.mark.parametrize("mode", MODES)
def test_tc_shows_the_limits(wire: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """Rates in bytes; all that the pod sends is led through a device that says whose it is."""
    config = limited(mode, IngressRate=8_000_000, IngressBurst=1_600_000, EgressRate=4_000_000, EgressBurst=800_000)
    added = wire.cni_add(config, "box", pod.path)
    device = host_device(added)
    through = "pi" + device[2:]
    for name, rate, burst in ((device, 1_000_000, 200_000), (through, 500_000, 100_000)):
        root = next(row for row in tc(host, "qdisc", "show", "dev", name) if row.get("root"))
        assert root["kind"] == "tbf"
        assert (root["options"]["rate"], root["options"]["burst"]) == (rate, pytest.approx(burst, rel=0.01))
    link = host.links()[through]
    assert link["linkinfo"]["info_kind"] == "ifb" and link["ifalias"].split()[:4] == ["podwire", "net", "box", "eth0"]
    filters = tc(host, "filter", "show", "dev", device, "ingress")
    actions = [action for row in filters for action in row.get("options", {}).get("actions", [])]
    assert [(action["kind"], action["to_dev"]) for action in actions] == [("mirred", through)]
    assert wire.cni_check({**config, "prevResult": added.document}, "box", pod.path).ok
    host.run("tc", "qdisc", "del", "dev", device, "root")
    refused = wire.cni_check({**config, "prevResult": added.document}, "box", pod.path)
    assert refused.code == 104 and "8000000 bits per second" in refused.message


def test_a_tiny_burst_still_lets_whole_packets_pass(wire: Plugin, host: Host, pod: Namespace) -> None:
    """A bucket that holds less than one packet would pass none at all."""
    added = wire.cni_add(
        limited(IngressRate=800_000, IngressBurst=8, EgressRate=800_000, EgressBurst=8), "box", pod.path
    )
    big = ("ping", "-n", "-q", "-c", "1", "-w", "10", "-s", "1472", "-M", "do", ips(added)[0])
    assert host.run(*big, check=False).returncode == 0


@pytest.mark.parametrize("given", ["netns", "no-netns", "dead"])
def test_del_leaves_nothing(wire: Plugin, host: Host, pod: Namespace, given: str) -> None:
    """Also where the namespace is gone before, and the runtime tells no limits."""
    config = limited(IngressRate=8_000_000, EgressRate=8_000_000)
    assert wire.cni_add(limited(), "first", pod.path, "eth9").ok
    before = sorted(host.links())
    with Namespace() as other:
        assert wire.cni_add(config, "box", other.path).ok
        assert len(host.links()) == len(before) + 2
        if given == "dead":
            other.delete()
        assert wire.cni_del(limited(), "box", other.path if given == "netns" else "").ok
        assert sorted(host.links()) == before


def test_the_ifb_of_a_namespace_that_dies_is_removed(
    plugin: Plugin, host: Host, agent: Agent, new_namespace: New
) -> None:
    """Without any DEL the egress device goes; that of a living pod stays."""
    config = limited(EgressRate=8_000_000)
    assert plugin.cni_add(config, "kept", new_namespace().path).ok
    before = sorted(host.links())
    pod = new_namespace()
    assert plugin.cni_add(config, "box", pod.path).ok
    pod.delete()
    assert wait_until(lambda: sorted(host.links()) == before), sorted(host.links())


@pytest.mark.parametrize("by", ["add", "gc", "agent"])
def test_what_no_agent_saw_is_found(oneshot_plugin: Plugin, host: Host, new_namespace: New, by: str) -> None:
    """By the next ADD that needs such a device, by GC, or by an agent that starts."""
    config = limited(EgressRate=8_000_000)
    dead = new_namespace()
    device = host_device(oneshot_plugin.cni_add(config, "dead", dead.path))
    dead.delete()
    assert wait_until(lambda: device not in host.links())
    orphan = "pi" + device[2:]
    assert orphan in host.links()
    if by == "add":
        assert oneshot_plugin.cni_add(config, "box", new_namespace().path).ok
    elif by == "gc":
        assert oneshot_plugin.cni_gc({**limited(), "cni.dev/valid-attachments": []}).ok
    else:
        with Agent(host):
            assert wait_until(lambda: orphan not in host.links())
    assert orphan not in host.links()


def test_the_same_attachment_comes_again(oneshot_plugin: Plugin, host: Host, new_namespace: New) -> None:
    """What its earlier life left is no obstacle."""
    config = limited(EgressRate=8_000_000)
    for _ in range(2):
        pod = new_namespace()
        added = oneshot_plugin.cni_add(config, "box", pod.path)
        assert added.ok, added
        assert host.pings(ips(added)[0])
        pod.delete()
        assert wait_until(lambda: not any(name.startswith("pw") for name in host.links() if name != "podwire0"))


def test_a_failed_add_leaves_nothing(wire: Plugin, host: Host, pod: Namespace) -> None:
    """A route that cannot be: the limits were there before it failed."""
    assert wire.cni_add(limited(), "first", pod.path, "eth9").ok
    before = sorted(host.links())
    impossible = {**limited(EgressRate=8_000_000), "routes": [{"dst": "10.9.0.0/16", "gw": "224.0.0.1"}]}
    with Namespace() as other:
        refused = wire.cni_add(impossible, "box", other.path)
    assert not refused.ok and refused.code is not None
    assert sorted(host.links()) == before
