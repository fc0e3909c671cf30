# SPDX-License-Identifier: Apache-2.0
"""The configuration files of kubeadm, for the first node and for nodes that join. Pure.

Each file is a stream of documents in JSON, which is YAML too. Besides names and addresses they set what a small
machine without systemd needs: cgroupfs, swap, no eviction because of the machine's disk.
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
"""The folder of static pods; on a real machine the kubelet's package creates it."""

REPOSITORY = "localhost/podwire-lab"
"""The repository in the images' names; no image is pulled."""

RESOLVER = "/etc/kubernetes/podwire-lab-resolv.conf"
"""CoreDNS' upstream resolver: it must have one, and the lab's internet rejects queries at once."""

KUBELET = "kubelet"
"""The service of a cluster node; podwire's agent runs as a pod."""

KUBELET_FILES = ("/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env")
"""The files that kubeadm writes for the kubelet, which starts when both exist."""

_ADDRESSES = "--node-ip="

PORT = 6443
SERVICES = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
MOST_PODS = 250
_KUBEADM = "kubeadm.k8s.io/v1beta4"
_SOCKET = f"unix://{containerd.SOCKET}"
_CA_HASH = re.compile(r"--discovery-token-ca-cert-hash\s+(sha256:[0-9a-f]{64})")


def init(layout: Layout, plan: NodePlan, version: str, token: str) -> str:
    """The file for `kubeadm init` on the first node. Other nodes join with `token`."""
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
                # A burst of pods must measure the network, not the kubelet's rate limit.
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
    """The ClusterConfiguration: version, pod and Service CIDRs."""
    quick = {"name": "unsafe-no-fsync", "value": "true"}  # a lab's etcd need not survive a crash
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
    """The file for `kubeadm join` on the other nodes."""
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


def read_ca_hash(join_command: str) -> str:
    """The hash of the cluster's certificate authority in the join command that kubeadm prints; "" if it has none."""
    found = _CA_HASH.search(join_command)
    return found.group(1) if found else ""


def _registration(plan: NodePlan, *, alone: bool = False) -> dict[str, Any]:
    """A NodeRegistrationOptions. A single node runs pods; otherwise the first node has kubeadm's usual taint."""
    registration = {
        "name": plan.name,
        "criSocket": _SOCKET,
        "imagePullPolicy": "IfNotPresent",
        "kubeletExtraArgs": [{"name": "node-ip", "value": ",".join(plan.addresses)}],
    }
    return {**registration, "taints": []} if alone else registration


def _documents(documents: Iterable[dict[str, Any]]) -> str:
    return "---\n".join(f"{json.dumps(document, indent=1)}\n" for document in documents)


def kubelet_argv(kubelet: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """The kubelet's command line; it needs the files that kubeadm writes."""
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
