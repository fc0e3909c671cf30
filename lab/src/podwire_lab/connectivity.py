"""Who takes part in a lab's connectivity check, read from what runs; and who cannot."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from podwire.diagnose.endpoints import Endpoint
from podwire_lab.layout import INTERNET
from podwire_lab.place import Place
from podwire_lab.read import RunningLab, RunningNode


def endpoints(lab: RunningLab) -> list[Endpoint]:
    """All nodes, all pods that run, and the internet."""
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
    """A node: its address first, then what its pods call their gateway."""
    gateways = [ip_network(each)[1] for each in node.pod_ranges]
    return Endpoint(node.name, "host", node.name, (*map(ip_address, node.addresses), *gateways), _netns(lab, node.name))


def _netns(lab: RunningLab, host: str) -> str:
    return str(Place(lab.name, host).netns_path)


def absent(lab: RunningLab) -> list[str]:
    """What should take part and cannot, a line each."""
    nodes = [f"node {node.name} does not run" for node in lab.nodes if not node.runs]
    troubles = [f"node {node.name}: {node.trouble}" for node in lab.nodes if node.runs and node.trouble]
    services = [
        f"node {node.name}: {name} does not run"
        for node in lab.nodes
        for name, runs in node.services.items()
        if not runs
    ]
    return [*nodes, *troubles, *services, *(f"pod {pod.name}: {pod.state}" for pod in lab.pods if not pod.runs)]
