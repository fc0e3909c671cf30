# SPDX-License-Identifier: Apache-2.0
"""The examples of CONTRIBUTING.md work: each is a module of its own, and fits where the text says that it belongs."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from podwire import sysctl
from podwire.cni.errors import CniError
from podwire.datapath import modes
from podwire.datapath.protocol import Datapath
from podwire.diagnose import causes
from podwire.diagnose.drop_point import DropPoint
from podwire.diagnose.network_state import Device, NetworkState, Route
from podwire.diagnose.packet_loss import PacketLoss
from podwire.diagnose.plan import Probe
from podwire.ipam.ranges import PodAddress
from podwire.netlink import operations as op
from podwire.netlink import read
from podwire.node import reconcilers
from podwire.node.reconciler import NFTABLES_CHANGED, TICK, Event
from podwire.plugin import dispatch
from podwire.record import replace

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
BLOCKS = dict(re.findall(r"```python\n# src/podwire/([\w/]+\.py)[^\n]*\n(.*?)```", PAGE.read_text(), re.S))


def example(path: str) -> SimpleNamespace:
    """What the example of that file defines."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(BLOCKS[path], path, "exec", dont_inherit=True), names)  # noqa: S102 -- our own document
    return SimpleNamespace(**names)


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'example\("([\w/]+\.py)"\)', Path(__file__).read_text()))
    assert PAGE.read_text().count("```python\n") == len(BLOCKS) == 5
    assert tested == set(BLOCKS)


def test_the_reconciler(monkeypatch: pytest.MonkeyPatch) -> None:
    made = example("node/reconcilers/reverse_path.py")
    values = {made.KEY: "1"}
    monkeypatch.setattr(sysctl, "read", values.__getitem__)
    monkeypatch.setattr(sysctl, "write", values.__setitem__)
    reconciler = made.ReversePathFilter(None)
    assert reconciler.concerned_by(Event(TICK)) and not reconciler.concerned_by(Event(NFTABLES_CHANGED))
    (change,) = reconciler.differences(full=True)
    assert (change.kind, change.command) == ("sysctl", "sysctl -w net/ipv4/conf/all/rp_filter=2")
    change.effect()
    assert values == {made.KEY: "2"} and not reconciler.differences(full=True)
    assert "ReversePathFilter" not in {entry.__name__ for entry in reconcilers.RECONCILERS}


def with_link(monkeypatch: pytest.MonkeyPatch, link: Any) -> Any:
    """An invocation on a host whose devices are all like `link`, with the example among the verbs."""
    made = example("plugin/ready.py")
    monkeypatch.setattr(read, "link", lambda socket, name: link)
    monkeypatch.setattr(dispatch, "VERBS", {**dispatch.VERBS, "READY": made.ready})
    return SimpleNamespace(attachment=SimpleNamespace(device="pw1"), host=SimpleNamespace(socket=None))


def test_the_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    invocation = with_link(monkeypatch, SimpleNamespace(up=True))
    assert dispatch.VERBS["READY"](invocation) is None


@pytest.mark.parametrize("link", [None, SimpleNamespace(up=False)])
def test_the_error_of_the_verb(monkeypatch: pytest.MonkeyPatch, link: Any) -> None:
    invocation = with_link(monkeypatch, link)
    with pytest.raises(CniError, match="pw1 is not up: delete the pod") as refused:
        dispatch.VERBS["READY"](invocation)
    assert refused.value.code == 104


def test_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    made = example("diagnose/causes_tunnel.py")
    finder = causes.Finder(made.tunnel_without_carrier, ("inside",))
    monkeypatch.setattr(causes, "FINDERS", [finder, *causes.FINDERS])
    tunnel = Device("podwire-vx4", True, False, 1450, "0a:00:00:00:00:01", kind="vxlan")
    route = Route("podwire-vx4", "10.2.0.1", "unicast")
    state = NetworkState("node", 4, "host", ("nsenter",), route, devices={"podwire-vx4": tunnel})
    loss = PacketLoss(Probe("pod", "far", ip_address("10.2.0.5"), "ping"), DropPoint("inside", "node"), state)
    cause = causes.explain(loss)
    assert cause.words == "the VXLAN device podwire-vx4 of node has no carrier"
    assert cause.command == ("nsenter", "ip", "-d", "link", "show", "podwire-vx4")
    with_carrier = replace(tunnel, carrier=True)
    sound = replace(state, devices={"podwire-vx4": with_carrier})
    assert "no carrier" not in causes.explain(replace(loss, state=sound)).words


def test_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    made = example("observe/metrics.py")
    pods = [("10.1.0.2", "tcp:0.0.0.0:80", "udp:0.0.0.0:53>5353", "udp:0.0.0.0:53"), ("10.1.0.3",)]
    made.host_port_metrics.__globals__["links"] = lambda socket: [SimpleNamespace(altnames=names) for names in pods]
    (metric,) = made.host_port_metrics(None)
    assert [(sample.name, sample.value) for sample in metric.samples] == [("podwire_host_ports", 2)]


def test_the_datapath(monkeypatch: pytest.MonkeyPatch) -> None:
    made = example("datapath/routed_arp.py")
    entry = {"routed-arp": lambda options: made.RoutedArp(options.mtu)}
    monkeypatch.setattr(modes, "DATAPATHS", {**modes.DATAPATHS, **entry})
    datapath = modes.parse_datapath({"mode": "routed-arp", "mtu": 1400})
    assert isinstance(datapath, Datapath) and datapath.pod_mtu == 1400
    pod, gateway = ip_address("10.1.0.2"), ip_address("10.1.0.1")
    addresses = [PodAddress(pod, 24, gateway)]
    operations = [
        *datapath.host_operations("pw1", addresses, "0a:00:00:00:00:01", has_host_ports=False),
        *datapath.pod_operations("eth0", {4: gateway}, "0a:00:00:00:00:02"),
    ]
    assert [op.describe(operation) for operation in operations] == [
        "ip route add 10.1.0.2/32 dev pw1 scope link proto 112",
        "ip route add 10.1.0.1/32 dev eth0 scope link proto 112",
    ]
