"""Where a call's time went: the steps that the verbs tell, for the agent's log and metrics."""

from __future__ import annotations

import json
import os
from time import perf_counter
from typing import Any

from bench import stage
from podwire.plugin.dispatch import Answer, serve
from podwire.plugin.host import Host, Shared
from podwire.plugin.network import Networks
from tests.namespaces.ground import configuration

ADD = ["parse", "host", "lease", "wire", "pod", "result"]


def _call(verb: str, pod: stage.Pod, host: Host, config: dict[str, Any]) -> Answer:
    environment = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": pod.path,
        "CNI_IFNAME": "eth0",
    }
    netns = os.dup(pod.descriptor)
    try:
        return serve(environment, json.dumps(config).encode(), netns, host, Networks())
    finally:
        os.close(netns)


def test_every_call_tells_its_own_steps_and_their_sum_is_its_time() -> None:
    with stage.host(), stage.pods(1) as (pod,):
        host = Host(Shared())
        begun = perf_counter()
        assert _call("ADD", pod, host, configuration("routed", (4,), ipMasq=False)).status == 0
        whole = perf_counter() - begun
        assert [step for step, _ in host.phases] == ADD
        assert 0 < sum(seconds for _, seconds in host.phases) <= whole
        assert _call("DEL", pod, host, configuration("routed", (4,), ipMasq=False)).status == 0
        assert [step for step, _ in host.phases] == ["parse", "limits", "device"]
        host.close()


def test_host_ports_and_rates_are_steps_of_their_own() -> None:
    runtime = {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 8_000_000},
    }
    with stage.host(), stage.pods(1) as (pod,):
        host = Host(Shared())
        config = configuration("routed", (4,), runtimeConfig=runtime)
        assert _call("ADD", pod, host, config).status == 0
        assert [step for step, _ in host.phases] == [
            *("parse", "host", "lease", "ports", "limits", "wire", "pod", "firewall", "result"),
        ]
        assert _call("DEL", pod, host, config).status == 0
        assert [step for step, _ in host.phases] == ["parse", "limits", "device", "ports"]
        host.close()
