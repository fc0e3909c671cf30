"""A pod that is wired by stencil has, to iproute2's eyes, what one has whose plans were encoded for it alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

import pytest

from bench import stage
from podwire.kernel.host import INDEX_BLOCK, INDEX_BLOCKS, Host, Shared
from podwire.verbs.dispatch import serve
from podwire.verbs.network import Networks
from tests.namespaces.ground import FAMILIES, MODES, configuration

LOWEST_CHOSEN = INDEX_BLOCKS[0] * INDEX_BLOCK
DIFFERENT = {"ifindex", "link_index", "link_netnsid"} | {"forward_delay_timer", "no", "id", "designated_port"}
"""Indexes, and what numbers a bridge's ports."""


def ip(*arguments: str, pod: stage.Pod | None = None) -> list[dict[str, Any]]:
    """`ip -j` on the host, or in a pod."""
    inside = ["nsenter", f"--net={pod.path}", "--"] if pod else []
    done = subprocess.run([*inside, "ip", "-j", *arguments], capture_output=True, text=True, check=True)
    return [row for row in json.loads(done.stdout or "[]") if row]


def without_indexes(rows: Any) -> Any:
    if isinstance(rows, dict):
        return {key: without_indexes(value) for key, value in rows.items() if key not in DIFFERENT}
    return [without_indexes(row) for row in rows] if isinstance(rows, list) else rows


def picture(pod: stage.Pod, answer: dict[str, Any]) -> str:
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
    for link in links:
        link["addr_info"] = [one for one in link["addr_info"] if one["scope"] != "link"]
    text = json.dumps(without_indexes([*rows, links]), sort_keys=True)
    names = {host_end["name"]: "DEVICE", host_end["mac"]: "HOST-MAC", pod_end["mac"]: "POD-MAC"}
    names |= {pod.container_id: "CONTAINER", pod.path: "SANDBOX"} | {one: f"IP{n}" for n, one in enumerate(addresses)}
    for value, word in names.items():
        text = re.sub(rf"(?<![\w.:]){re.escape(value)}(?![\w.:])", word, text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "SINCE", text)


def added(pod: stage.Pod, host: Host, networks: Networks, config: dict[str, Any]) -> dict[str, Any]:
    environment = {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": pod.path,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
    }
    netns = os.dup(pod.descriptor)
    try:
        answer = serve(environment, json.dumps(config).encode(), netns, host, networks)
    finally:
        os.close(netns)
    assert answer.status == 0, answer.body
    document: dict[str, Any] = json.loads(answer.body)
    return document


def index_of(answer: dict[str, Any]) -> int:
    index: int = ip("link", "show", "dev", answer["interfaces"][-2]["name"])[0]["ifindex"]
    return index


@pytest.mark.parametrize("families", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize("mode", MODES)
def test_the_short_way_leads_where_the_long_way_does(mode: str, families: tuple[int, ...]) -> None:
    """The first pod of a configuration is wired the long way, the others by stencil: their indexes were chosen."""
    config = configuration(mode, families, hairpinMode=True)
    with stage.host(), stage.pods(3) as pods:
        host, networks = Host(Shared()), Networks()
        try:
            answers = [added(pod, host, networks, config) for pod in pods]
            assert [index_of(one) >= LOWEST_CHOSEN for one in answers] == [False, True, True]
            first, second, third = (picture(pod, answer) for pod, answer in zip(pods, answers, strict=True))
            assert second == first
            assert third == first
        finally:
            host.close()


def test_taken_addresses_are_passed_over_and_their_holders_keep_them() -> None:
    """On the short way as well: the next address, with the MAC that belongs to it."""
    config = configuration("routed", (4,))
    with stage.host(), stage.pods(4) as pods:
        host, networks = Host(Shared()), Networks()
        try:
            for pod in pods[:3]:
                added(pod, host, networks, config)
            subprocess.run(["ip", "link", "add", "other0", "type", "bridge"], check=True)
            for taken in ("10.244.1.5", "10.244.1.6"):
                subprocess.run(["ip", "link", "property", "add", "dev", "other0", "altname", taken], check=True)
            answer = added(pods[3], host, networks, config)
            assert answer["ips"][0]["address"] == "10.244.1.7/32"
            assert answer["interfaces"][-1]["mac"] == "0a:58:0a:f4:01:07"
            assert ip("link", "show", "dev", "eth0", pod=pods[3])[0]["address"] == "0a:58:0a:f4:01:07"
            device = answer["interfaces"][-2]["name"]
            assert ip("link", "show", "dev", device)[0]["altnames"] == ["10.244.1.7"]
            assert {row["dst"] for row in ip("-4", "route", "show") if row["dev"] == device} == {"10.244.1.7"}
        finally:
            host.close()
