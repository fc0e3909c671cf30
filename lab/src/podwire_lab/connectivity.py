# SPDX-License-Identifier: Apache-2.0
"""The endpoints of a lab's connectivity check, and the nodes, services and pods that do not run."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from podwire.diagnose.endpoints import Endpoint
from podwire_lab.lab_host import LabHost
from podwire_lab.layout import INTERNET
from podwire_lab.read import RunningLab, RunningNode


def endpoints(lab: RunningLab) -> list[Endpoint]:
    """All running nodes, all running pods and the internet."""
    found = [_host(lab, node) for node in lab.nodes if node.runs]
    found += [
        Endpoint(pod.name, "pod", pod.node, tuple(map(ip_address, pod.addresses)), pod.netns)
        for pod in lab.pods
        if pod.runs
    ]
    for name, addresses in lab.others.items():
        if name == INTERNET:
            found.append(Endpoint(name, "outside", "", tuple(map(ip_address, addresses)), _netns(lab, name)))
    return found


def _host(lab: RunningLab, node: RunningNode) -> Endpoint:
    """A node: its addresses, then the gateway addresses of its pods."""
    gateways = [ip_network(cidr)[1] for cidr in node.pod_cidrs]
    return Endpoint(node.name, "host", node.name, (*map(ip_address, node.addresses), *gateways), _netns(lab, node.name))


def _netns(lab: RunningLab, host: str) -> str:
    return str(LabHost(lab.name, host).netns_path)


def not_running(lab: RunningLab) -> list[str]:
    """A line for each node, service and pod that should run and does not."""
    nodes = [f"node {node.name} does not run" for node in lab.nodes if not node.runs]
    errors = [f"node {node.name}: {node.error}" for node in lab.nodes if node.runs and node.error]
    services = [
        f"node {node.name}: {name} does not run"
        for node in lab.nodes
        for name, runs in node.services.items()
        if not runs
    ]
    return [*nodes, *errors, *services, *(f"pod {pod.name}: {pod.state}" for pod in lab.pods if not pod.runs)]
