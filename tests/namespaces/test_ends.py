# SPDX-License-Identifier: Apache-2.0
"""How a pod ends: DEL, GC, or its namespace just dies. Nothing of it stays, and nothing else goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.namespaces.ground import MODES, configuration, host_device, ips, left_in_pod, state
from tests.support.namespace import Host, Namespace, wait_until
from tests.support.plugin import Plugin
from tests.support.snapshot import Snapshot, difference

New = Callable[[], Namespace]


def settled(plugin: Plugin, host: Host, config: dict[str, object]) -> Snapshot:
    """The host's state after a first pod has come and gone."""
    with Namespace() as pod:
        assert plugin.cni_add(config, "first", pod.path).ok
        assert plugin.cni_del(config, "first", pod.path).ok
    return state(host)


@pytest.mark.parametrize("given", ["netns", "no-netns"])
@pytest.mark.parametrize("mode", MODES)
def test_del_leaves_nothing_on_either_side(plugin: Plugin, host: Host, pod: Namespace, mode: str, given: str) -> None:
    """The same with CNI_NETNS and without, and a second DEL finds nothing to do."""
    config = configuration(mode)
    before, empty = settled(plugin, host, config), state(pod)
    assert plugin.cni_add(config, "box", pod.path).ok
    for _ in range(2):
        ended = plugin.cni_del(config, "box", pod.path if given == "netns" else "")
        assert (ended.status, ended.stdout) == (0, b""), ended
    assert not difference(before, state(host))
    assert not left_in_pod(empty, pod)


@pytest.mark.failure_mode("addresses leak until none is left")
@pytest.mark.parametrize("mode", MODES)
def test_a_namespace_that_dies_takes_everything_along(
    plugin: Plugin, host: Host, mode: str, new_namespace: New
) -> None:
    """Without any DEL; and its address is free again."""
    config = configuration(mode)
    before = settled(plugin, host, config)
    pod = new_namespace()
    added = plugin.cni_add(config, "box", pod.path)
    pod.delete()
    assert wait_until(lambda: not difference(before, state(host))), difference(before, state(host))
    asked = {**config, "runtimeConfig": {"ips": ips(added)}}
    assert ips(plugin.cni_add(asked, "again", new_namespace().path)) == ips(added)


@pytest.mark.parametrize("mode", MODES)
def test_gc_removes_what_is_not_listed(plugin: Plugin, host: Host, mode: str, new_namespace: New) -> None:
    """In its own network; the listed attachment and other networks stay as they are."""
    config = configuration(mode, (4,))
    other = configuration(mode, (4,), name="other", subnet="10.246.1.0/24", bridge="cni1")
    settled(plugin, host, config)
    settled(plugin, host, other)
    kept, stranger = new_namespace(), new_namespace()
    staying = [plugin.cni_add(config, "kept", kept.path), plugin.cni_add(other, "stranger", stranger.path)]
    before = state(host)
    gone = [plugin.cni_add(config, f"gone{number}", new_namespace().path) for number in range(3)]
    collected = plugin.cni_gc({**config, "cni.dev/valid-attachments": [{"containerID": "kept", "ifname": "eth0"}]})
    assert (collected.status, collected.stdout) == (0, b""), collected
    assert not difference(before, state(host))
    assert not {host_device(each) for each in gone} & set(host.links())
    for each in staying:
        assert host.pings(ips(each)[0])


@pytest.mark.parametrize("mode", MODES)
def test_the_hosts_end_deleted_by_hand(plugin: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """DEL has nothing left to do, and the pod can be added again."""
    config = configuration(mode)
    before = settled(plugin, host, config)
    added = plugin.cni_add(config, "box", pod.path)
    host.ip("link", "del", host_device(added))
    assert plugin.cni_del(config, "box", pod.path).ok
    assert not difference(before, state(host))
    assert plugin.cni_add(config, "box", pod.path).ok


@pytest.mark.parametrize("mode", MODES)
def test_a_failed_add_leaves_nothing(plugin: Plugin, host: Host, pod: Namespace, mode: str) -> None:
    """An interface of that name is there already: the error leaves it and the host as they were."""
    config = configuration(mode)
    before = settled(plugin, host, config)
    pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "other")
    there = state(pod)
    refused = plugin.cni_add(config, "box", pod.path)
    assert not refused.ok
    assert refused.code is not None
    assert not difference(before, state(host))
    assert not difference(there, state(pod))
