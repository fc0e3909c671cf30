# SPDX-License-Identifier: Apache-2.0
"""iproute2 shows no difference between a pod of an ADD template and a pod of the general ADD.

A template that fails leaves nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

from bench import namespaces
from podwire.netlink.host import INDEX_BLOCK, INDEX_BLOCKS, Host
from podwire.plugin.config import parse_configuration
from podwire.plugin.context import PluginState
from podwire.plugin.dispatch import Answer, serve
from podwire.plugin.network import pod_network
from podwire.plugin.timings import Timings
from tests.namespaces.ground import FAMILIES, MODES, configuration

LOWEST_CHOSEN = INDEX_BLOCKS[0] * INDEX_BLOCK
DIFFERENT = {"ifindex", "link_index", "link_netnsid"} | {"forward_delay_timer", "no", "id", "designated_port"}
"""Indexes, and what numbers a bridge's ports."""


def ip(*arguments: str, pod: namespaces.Pod | None = None) -> list[dict[str, Any]]:
    """`ip -j` on the host, or in a pod."""
    inside = ["nsenter", f"--net={pod.path}", "--"] if pod else []
    done = subprocess.run([*inside, "ip", "-j", *arguments], capture_output=True, text=True, check=True)
    return [row for row in json.loads(done.stdout or "[]") if row]


def without_indexes(rows: Any) -> Any:
    if isinstance(rows, dict):
        return {key: without_indexes(value) for key, value in rows.items() if key not in DIFFERENT}
    return [without_indexes(row) for row in rows] if isinstance(rows, list) else rows


def picture(pod: namespaces.Pod, answer: dict[str, Any]) -> str:
    """The kernel's objects of an attachment and its answer, with this pod's own values replaced by words."""
    host_end, pod_end = answer["interfaces"][-2:]
    addresses = [each["address"].split("/")[0] for each in answer["ips"]]
    rows: list[Any] = [answer, ip("-d", "link", "show", "dev", host_end["name"])]
    for family in ("-4", "-6"):
        routes = [row for row in ip(family, "route", "show") if row["dst"] in addresses]
        neighbours = [row for row in ip(family, "neigh", "show", "nud", "permanent") if row["dst"] in addresses]
        rows += [routes, neighbours, ip(family, "route", "show", pod=pod)]
        rows += [ip(family, "neigh", "show", "nud", "permanent", pod=pod)]
    links = [row for row in ip("-d", "addr", "show", pod=pod) if row["ifname"] in ("lo", "eth0")]
    links.sort(key=lambda link: str(link["ifname"]))  # older kernels list them in another order
    for link in links:
        link["addr_info"] = [info for info in link["addr_info"] if info["scope"] != "link"]
    text = json.dumps(without_indexes([*rows, links]), sort_keys=True)
    names = {host_end["name"]: "DEVICE", host_end["mac"]: "HOST-MAC", pod_end["mac"]: "POD-MAC"}
    names |= {pod.container_id: "CONTAINER", pod.path: "SANDBOX"} | {one: f"IP{n}" for n, one in enumerate(addresses)}
    for value, word in names.items():
        text = re.sub(rf"(?<![\w.:]){re.escape(value)}(?![\w.:])", word, text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "SINCE", text)


class Node:
    """An agent's insides, without its socket."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.stdin = json.dumps(config).encode()
        self.state = PluginState(reconciled=True)
        self.host = Host(self.state.namespace)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.host.close()

    def call(self, pod: namespaces.Pod, verb: str = "ADD", **environment: str) -> Answer:
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": pod.container_id,
            "CNI_NETNS": pod.path,
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
            **environment,
        }
        netns = os.dup(pod.descriptor)
        try:
            return serve(environment, self.stdin, netns, self.host, self.state, Timings())
        finally:
            os.close(netns)

    def add(self, pod: namespaces.Pod, **environment: str) -> dict[str, Any]:
        answer = self.call(pod, **environment)
        assert answer.status == 0, answer.body
        document: dict[str, Any] = json.loads(answer.body)
        return document


def address(answer: dict[str, Any]) -> str:
    return str(answer["ips"][0]["address"].partition("/")[0])


def devices() -> list[str]:
    """The host's ends of pods."""
    return [row["ifname"] for row in ip("link", "show", "type", "veth")]


def used_template(answer: dict[str, Any]) -> bool:
    """Only ADD templates choose indexes."""
    return index_of(answer) >= LOWEST_CHOSEN


def index_of(answer: dict[str, Any]) -> int:
    index: int = ip("link", "show", "dev", answer["interfaces"][-2]["name"])[0]["ifindex"]
    return index


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("mode", MODES)
def test_a_template_has_the_result_of_the_general_add(mode: str, families: tuple[int, ...]) -> None:
    config = configuration(mode, families, hairpinMode=True)
    with namespaces.host(), namespaces.pods(3) as pods, Node(config) as node:
        answers = [node.add(pod) for pod in pods]
        assert [used_template(answer) for answer in answers] == [False, True, True]
        first, second, third = (picture(pod, answer) for pod, answer in zip(pods, answers, strict=True))
        assert second == first
        assert third == first


def test_taken_addresses_are_passed_over_and_their_holders_keep_them() -> None:
    """Also those that nobody knew of: a device is made in vain once, and from then on they are known."""
    with namespaces.host(), namespaces.pods(5) as pods, Node(configuration("routed", (4,))) as node:
        for pod in pods[:3]:
            node.add(pod)
        subprocess.run(["ip", "link", "add", "other0", "type", "bridge"], check=True)
        for taken in ("10.244.1.5", "10.244.1.6", "10.244.1.8"):
            subprocess.run(["ip", "link", "property", "add", "dev", "other0", "altname", taken], check=True)
        answer = node.add(pods[3])
        assert not used_template(answer)
        assert answer["ips"][0]["address"] == "10.244.1.7/32"
        assert answer["interfaces"][-1]["mac"] == "0a:58:0a:f4:01:07"
        assert ip("link", "show", "dev", "eth0", pod=pods[3])[0]["address"] == "0a:58:0a:f4:01:07"
        device = answer["interfaces"][-2]["name"]
        assert ip("link", "show", "dev", device)[0]["altnames"] == ["10.244.1.7"]
        assert {row["dst"] for row in ip("-4", "route", "show") if row["dev"] == device} == {"10.244.1.7"}
        following = node.add(pods[4])
        assert used_template(following) and address(following) == "10.244.1.9"
        assert len(devices()) == 5


def test_allocation_is_round_robin_with_and_without_a_template() -> None:
    """At a range's end the general ADD continues at its start, and the template continues there."""
    config = configuration("routed", (4,), subnet="10.244.1.0/29")  # .1 is the gateway, .2 to .6 are leased
    with namespaces.host(), namespaces.pods(8) as pods, Node(config) as node:
        given = [address(node.add(pod)) for pod in pods[:5]]
        assert given == [f"10.244.1.{last}" for last in range(2, 7)]
        refused = node.call(pods[5])
        assert refused.status == 1 and b"full" in refused.body
        for pod in (pods[1], pods[3]):
            node.call(pod, "DEL")
        again = [node.add(pod) for pod in pods[5:7]]
        assert [address(entry) for entry in again] == ["10.244.1.3", "10.244.1.5"]
        assert node.call(pods[7]).status == 1
        assert len(devices()) == 5


def test_a_second_add_leaves_the_first_alone() -> None:
    with namespaces.host(), namespaces.pods(3) as pods, Node(configuration("routed", (4,))) as node:
        answers = [node.add(pod) for pod in pods]
        before = picture(pods[2], answers[2])
        refused = node.call(pods[2])
        assert refused.status == 1 and b"attached to network" in refused.body
        assert picture(pods[2], answers[2]) == before


def test_pods_without_ipv6_use_the_general_add() -> None:
    """Their IPv6 is switched on, which a template cannot do; it is tried less and less often."""
    with namespaces.host(), namespaces.pods(8) as pods, Node(configuration("routed", (4, 6))) as node:
        for pod in pods:
            off = ["nsenter", f"--net={pod.path}", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]
            subprocess.run(off, check=True)
        answers = [node.add(pod) for pod in pods]
        assert not any(map(used_template, answers))
        assert len(devices()) == len(pods)
        for pod, answer in zip(pods, answers, strict=True):
            inside = {info["local"] for info in ip("addr", "show", "dev", "eth0", pod=pod)[0]["addr_info"]}
            assert {each["address"].split("/")[0] for each in answer["ips"]} <= inside


def test_a_second_interface_of_a_pod_has_a_template_of_its_own() -> None:
    with namespaces.host(), namespaces.pods(3) as pods, Node(configuration("routed", (4,))) as node:
        for pod in pods:
            node.add(pod)
        answers = [node.add(pod, CNI_IFNAME="net1") for pod in pods]
        assert not used_template(answers[0])
        for pod, answer in zip(pods, answers, strict=True):
            assert ip("addr", "show", "dev", "net1", pod=pod)[0]["addr_info"][0]["local"] == address(answer)
        assert len(devices()) == 6


def test_requests_of_a_pod_use_the_general_add() -> None:
    with namespaces.host(), namespaces.pods(5) as pods, Node(configuration("routed", (4,))) as node:
        for pod in pods[:2]:
            node.add(pod)
        asked = node.add(pods[2], CNI_ARGS="IP=10.244.1.77;MAC=02:00:00:00:00:77")
        assert address(asked) == "10.244.1.77" and asked["interfaces"][-1]["mac"] == "02:00:00:00:00:77"
        for wrong in ({"CNI_CONTAINERID": "../x"}, {"CNI_ARGS": "rubbish"}, {"CNI_NETNS": ""}):
            assert node.call(pods[3], **wrong).status == 1
        assert len(devices()) == 3
        assert used_template(node.add(pods[4]))


def test_a_gateway_that_is_gone_is_made_again() -> None:
    for mode in MODES:
        with namespaces.host(), namespaces.pods(4) as pods, Node(configuration(mode, (4,))) as node:
            gateway = "cni0" if mode == "bridge" else "podwire0"
            for pod in pods[:2]:
                node.add(pod)
            subprocess.run(["ip", "link", "delete", gateway], check=True)
            assert not used_template(node.add(pods[2]))
            assert used_template(node.add(pods[3]))
            assert ip("addr", "show", "dev", gateway)[0]["addr_info"][0]["local"] == "10.244.1.1"


def test_former_ranges_are_refused_although_there_is_a_template() -> None:
    """The node has other ranges by now; what was learned of the old ones is no excuse."""
    old, new = (configuration("routed", (4,), subnet=subnet) for subnet in ("10.244.1.0/24", "10.244.9.0/24"))
    with namespaces.host(), namespaces.pods(4) as pods, Node(old) as node:
        for pod in pods[:2]:
            node.add(pod)
        before, now = (pod_network(parse_configuration(json.dumps(entry).encode())) for entry in (old, new))
        node.state.networks.remember(now, instead_of=before)
        # As by an ADD that began before and ends after.
        assert node.state.templates
        node.state.templates.learn(node.stdin, "eth0", before, node.host, node.state.firewall)
        refused = node.call(pods[2])
        assert refused.status == 1 and json.loads(refused.body)["code"] == 11
        node.stdin = json.dumps(new).encode()
        assert address(node.add(pods[3])) == "10.244.9.2"
