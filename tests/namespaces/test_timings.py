# SPDX-License-Identifier: Apache-2.0
"""Phase timings: where a call's time went, for the agent's log and metrics."""

from __future__ import annotations

import json
import os
from time import perf_counter
from typing import Any

from bench import namespaces
from podwire.netlink.host import Host
from podwire.plugin.context import PluginState
from podwire.plugin.dispatch import Answer, serve
from podwire.plugin.timings import Timings
from tests.namespaces.ground import configuration

ADD = ["parse", "host", "lease", "wire", "pod", "result"]


def _call(verb: str, pod: namespaces.Pod, config: dict[str, Any]) -> tuple[Answer, list[tuple[str, float]]]:
    """The answer and the phases of a call, by an agent that has just started."""
    environment = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": pod.path,
        "CNI_IFNAME": "eth0",
    }
    netns = os.dup(pod.descriptor)
    try:
        state, timings = PluginState(reconciled=True), Timings()
        host = Host(state.namespace)
        answer = serve(environment, json.dumps(config).encode(), netns, host, state, timings)
        host.close()
        return answer, timings.phases
    finally:
        os.close(netns)


def test_every_call_tells_its_own_phases_and_their_sum_is_its_time() -> None:
    with namespaces.host(), namespaces.pods(1) as (pod,):
        begun = perf_counter()
        answer, phases = _call("ADD", pod, configuration("routed", (4,), ipMasq=False))
        whole = perf_counter() - begun
        assert answer.status == 0
        assert [phase for phase, _ in phases] == ADD
        assert 0 < sum(seconds for _, seconds in phases) <= whole
        answer, phases = _call("DEL", pod, configuration("routed", (4,), ipMasq=False))
        assert answer.status == 0
        assert [phase for phase, _ in phases] == ["parse", "limits", "device"]


def test_host_ports_and_rates_are_phases_of_their_own() -> None:
    runtime = {
        "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 8_000_000},
    }
    with namespaces.host(), namespaces.pods(1) as (pod,):
        config = configuration("routed", (4,), runtimeConfig=runtime)
        answer, phases = _call("ADD", pod, config)
        assert answer.status == 0
        assert [phase for phase, _ in phases] == [
            *("parse", "host", "lease", "ports", "limits", "wire", "pod", "firewall", "result")
        ]
        answer, phases = _call("DEL", pod, config)
        assert answer.status == 0
        assert [phase for phase, _ in phases] == ["parse", "limits", "device", "ports"]
