"""What kubeadm is told: the first node, and those that join. Pure.

Each file is a stream of documents, JSON being YAML too. What is set besides names and addresses is what a small
machine without systemd needs: control groups without a daemon, swap, no eviction for a disk that is not the node's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from podwire_lab import containerd
from podwire_lab.layout import INTERNET_ADDRESS, Layout, NodePlan

ADMIN = "/etc/kubernetes/admin.conf"
CONFIG = "/etc/kubernetes/podwire-lab.yaml"
MANIFESTS = "/etc/kubernetes/manifests"
"""Of static pods; on a machine it comes with the kubelet's package."""

REPOSITORY = "localhost/podwire-lab"
"""Whose images these are: nothing is ever pulled."""

RESOLVER = "/etc/kubernetes/podwire-lab-resolv.conf"
"""What CoreDNS asks for names that are not the cluster's: it wants somebody, and the internet refuses at once."""

KUBELET = "kubelet"
"""The service that a node of a cluster has in the place of podwire's agent: that one runs as a pod."""

KUBELET_FILES = ("/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env")
"""What kubeadm writes for the kubelet: it starts as soon as both are there."""

_ADDRESSES = "--node-ip="

PORT = 6443
SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
MOST_PODS = 250
_KUBEADM = "kubeadm.k8s.io/v1beta4"
_SOCKET = f"unix://{containerd.SOCKET}"
_CA_HASH = re.compile(r"--discovery-token-ca-cert-hash\s+(sha256:[0-9a-f]{64})")


def init(layout: Layout, plan: NodePlan, version: str, token: str) -> str:
    """For `kubeadm init` on the first node. `token` lets the others in."""
    return _documents(
        [
            {
                "apiVersion": _KUBEADM,
                "kind": "InitConfiguration",
                "bootstrapTokens": [{"token": token, "ttl": "2h0m0s"}],
                "localAPIEndpoint": {"advertiseAddress": plan.addresses[0], "bindPort": PORT},
                "nodeRegistration": _registration(plan, alone=len(layout.nodes) == 1),
            },
            cluster(layout, version),
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "containerRuntimeEndpoint": _SOCKET,
                "cgroupDriver": "cgroupfs",
                "failCgroupV1": False,
                "failSwapOn": False,
                "evictionHard": dict.fromkeys(
                    ("imagefs.available", "imagefs.inodesFree", "nodefs.available", "nodefs.inodesFree"), "0%"
                ),
                "imageGCHighThresholdPercent": 100,
                "maxPods": MOST_PODS,
                "resolvConf": RESOLVER,
                # A burst of pods is to show the network's time, not the kubelet's modesty.
                "kubeAPIQPS": 200,
                "kubeAPIBurst": 400,
            },
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "conntrack": {"maxPerCore": 0},
            },
        ]
    )


def resolver(layout: Layout) -> str:
    """The text of the file RESOLVER."""
    return f"nameserver {INTERNET_ADDRESS[layout.families[0]]}\n"


def cluster(layout: Layout, version: str) -> dict[str, Any]:
    """The cluster's own part: its version and its ranges."""
    quick = {"name": "unsafe-no-fsync", "value": "true"}  # a lab's etcd is gone with the lab
    return {
        "apiVersion": _KUBEADM,
        "kind": "ClusterConfiguration",
        "kubernetesVersion": version,
        "imageRepository": REPOSITORY,
        "networking": {
            "podSubnet": ",".join(layout.cluster),
            "serviceSubnet": ",".join(SERVICES[family] for family in layout.families),
        },
        "etcd": {"local": {"dataDir": "/var/lib/etcd", "extraArgs": [quick]}},
    }


def join(layout: Layout, plan: NodePlan, token: str, ca_hash: str) -> str:
    """For `kubeadm join` on every other node."""
    address = layout.nodes[0].addresses[0]
    server = f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
    discovery = {"apiServerEndpoint": server, "token": token, "caCertHashes": [ca_hash]}
    return _documents(
        [
            {
                "apiVersion": _KUBEADM,
                "kind": "JoinConfiguration",
                "discovery": {"bootstrapToken": discovery, "tlsBootstrapToken": token},
                "nodeRegistration": _registration(plan),
            }
        ]
    )


def read_ca_hash(said: str) -> str:
    """The hash of the cluster's certificate authority in the join command that kubeadm prints; "" if there is none."""
    found = _CA_HASH.search(said)
    return found.group(1) if found else ""


def _registration(plan: NodePlan, *, alone: bool = False) -> dict[str, Any]:
    """How a node is known. The only node of a cluster takes pods; else the first one has kubeadm's usual taint."""
    registration = {
        "name": plan.name,
        "criSocket": _SOCKET,
        "imagePullPolicy": "IfNotPresent",
        "kubeletExtraArgs": [{"name": "node-ip", "value": ",".join(plan.addresses)}],
    }
    return {**registration, "taints": []} if alone else registration


def _documents(documents: Iterable[dict[str, Any]]) -> str:
    return "---\n".join(f"{json.dumps(each, indent=1)}\n" for each in documents)


def kubelet_argv(kubelet: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """The kubelet's command line, once kubeadm has written its files."""
    return (
        kubelet,
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--config=/var/lib/kubelet/config.yaml",
        f"{_ADDRESSES}{','.join(addresses)}",
    )


def read_addresses(argv: Sequence[str]) -> list[str]:
    """The addresses in a kubelet's command line."""
    named = next(word for word in argv if word.startswith(_ADDRESSES))
    return named.removeprefix(_ADDRESSES).split(",")
