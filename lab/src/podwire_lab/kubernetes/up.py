# SPDX-License-Identifier: Apache-2.0
"""Builds a Kubernetes cluster of the lab's nodes: kubeadm init, kubeadm join, kubectl apply.

All nodes start in parallel. The first node becomes the control plane; the others join when it answers and their images
are loaded. The cluster has no pod network until podwire's manifest is applied: before that every node must be NotReady.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from podwire.record import Record
from podwire_lab import containerd, images, lock, node, podwire_image, root, runtime
from podwire_lab.command import CommandError
from podwire_lab.containerd import Containerd
from podwire_lab.kubernetes import images as kubernetes_images
from podwire_lab.kubernetes import kubeadm, manifests, tunables
from podwire_lab.kubernetes.client import Kubectl
from podwire_lab.kubernetes.programs import Kubernetes
from podwire_lab.layout import Layout, NodePlan
from podwire_lab.node import Node, NodeError
from podwire_lab.progress import Steps
from podwire_lab.service import Service
from podwire_lab.underlay import Underlay
from podwire_lab.up import ImageSet, all_names, describe_underlay, prepare, refuse_existing, run_in_parallel

INIT_SECONDS, JOIN_SECONDS = 240.0, 120.0
READY_SECONDS, RUNNING_SECONDS = 120, 180


class ClusterBuildRequest(Record):
    """A request to build a cluster. `images` are the pods' images by kind: registry references or files.

    `network` is podwire's manifest, made from the file `manifest`; with "" no manifest is applied.
    """

    lab: str
    layout: Layout
    kubernetes: Kubernetes
    manifest: Path
    network: str
    containerd: Containerd = containerd.debian()
    images: Mapping[str, str] = {}


class JoinCredentials:
    """The credentials with which nodes join; the first node publishes the hash of its certificate authority."""

    def __init__(self) -> None:
        letters = string.ascii_lowercase + string.digits
        self.token = f"{_random(letters, 6)}.{_random(letters, 16)}"
        self.ca_hash = ""
        self._known = threading.Event()

    def publish(self, ca_hash: str) -> None:
        """Publish the hash to the waiting nodes; "" if the first node failed."""
        self.ca_hash = ca_hash
        self._known.set()

    def wait(self) -> str:
        """Wait for the hash of the certificate authority; raises NodeError."""
        if not self._known.wait(INIT_SECONDS) or not self.ca_hash:
            raise NodeError("the first node did not become a control plane")
        return self.ca_hash


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))


def up(request: ClusterBuildRequest, steps: Steps) -> None:
    """Build the cluster, apply podwire's manifest and start the pods. After an error or a signal it is removed.

    Raises LabExistsError, LabBusyError, NodeError, CommandError, NotInstalledError, TimeoutError, ValueError.
    """
    with lock.hold(request.lab):
        refuse_existing(request.lab)
        try:
            ClusterBuild(request, steps).run()
        except BaseException:  # also of a signal
            node.remove_hosts(request.lab)
            raise


class ClusterBuild:
    """The build of a cluster. `names` are the image names in the nodes' runtimes, by kind of pod."""

    def __init__(self, request: ClusterBuildRequest, steps: Steps) -> None:
        self.request = request
        self.steps = steps
        self.credentials = JoinCredentials()
        self.names: dict[str, str] = {}

    @property
    def underlay(self) -> Underlay:
        """The network between the nodes."""
        return Underlay(self.request.lab, self.request.layout)

    @property
    def kubectl(self) -> Kubectl:
        """kubectl as the cluster's administrator."""
        return Kubectl(Node(self.underlay.node(self.request.layout.nodes[0])))

    def run(self) -> None:
        """Build everything up to running pods."""
        own: dict[str, Callable[[], Path]] = {
            "building Kubernetes' images": partial(kubernetes_images.built, self.request.kubernetes),
            "building podwire's image": podwire_image.archive,
            "building images from Debian's packages": images.built,
        }
        image_set = prepare(self.request.containerd, self.request.images, self.steps, own)
        self.underlay.create()
        self.steps.step("underlay", describe_underlay(self.request.layout), done=True)
        works = [NodeBuild(self, plan, image_set).build for plan in self.request.layout.nodes]
        run_in_parallel(works, lambda: node.remove_hosts(self.request.lab))
        if self.request.network:
            self.network()
            self.pods()

    def network(self) -> None:
        """Apply podwire's manifest and wait until every node is Ready."""
        ready = [item["metadata"]["name"] for item in self.kubectl.get("nodes") if _is_ready(item)]
        if ready:
            raise NodeError(
                f"{', '.join(ready)}: Ready without a pod network: remove the other network from this cluster"
            )
        begun = self.steps.seconds
        self.steps.step("podwire", f"kubectl apply -f {self.request.manifest}")
        self.kubectl.apply(self.request.network)
        try:
            self.kubectl.wait("nodes", "Ready", "--all", timeout_seconds=READY_SECONDS)
        except CommandError as error:
            raise NodeError(f"{error}\n{self._why()}") from None
        took = self.steps.seconds - begun
        self.steps.step("podwire", f"all nodes Ready {took:.1f} s after kubectl apply", done=True)

    def pods(self) -> None:
        """Start the layout's pods; wait until they and the cluster's own pods are Ready."""
        self.steps.step("pods", "kubectl apply")
        self.kubectl.apply(manifests.pods(self.request.layout, self.names))
        try:
            for where in ("default", "kube-system"):
                self.kubectl.wait("pods", "Ready", "--all", "--namespace", where, timeout_seconds=RUNNING_SECONDS)
        except CommandError as error:
            raise NodeError(f"{error}\n{self._why()}") from None
        running = [pod.name for plan in self.request.layout.nodes for pod in plan.pods]
        self.steps.step("pods", f"running: {', '.join(running)}", done=True)

    def _why(self) -> str:
        """The cluster's pods, events and logs of podwire, for an error."""
        pods = self.kubectl.call("get", "pods", "--all-namespaces", "--output", "wide", check=False)
        events = self.kubectl.call("get", "events", "--all-namespaces", check=False)
        logs = self.kubectl.call("logs", "--namespace", "podwire", "daemonset/podwire", "--tail", "20", check=False)
        return "\n".join((pods.output, events.output[-3000:], logs.output[-2000:], logs.error[-500:]))


def _is_ready(item: dict[str, object]) -> bool:
    conditions = item["status"]["conditions"]  # type: ignore[index]
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


class NodeBuild(Record):
    """The build of a node of the cluster."""

    cluster_build: ClusterBuild
    plan: NodePlan
    image_set: ImageSet

    @property
    def request(self) -> ClusterBuildRequest:
        """The request for the cluster."""
        return self.cluster_build.request

    @property
    def node(self) -> Node:
        """The node."""
        return Node(self.cluster_build.underlay.node(self.plan))

    @property
    def first(self) -> bool:
        """Whether it is the control plane."""
        return self.plan is self.request.layout.nodes[0]

    def _report(self, words: str, *, done: bool = False) -> None:
        self.cluster_build.steps.step(self.plan.name, words, done=done)

    def build(self) -> None:
        """Build everything up to a node of the cluster."""
        try:
            self._report("creating namespaces and root file system")
            self.node.start()
            self.node.write("/etc/hosts", root.etc_hosts(self.plan.name, all_names(self.request.layout)))
            self._report("starting containerd")
            runtime.begin(self.node, self.request.containerd)
            self._kubelet()
            runtime.wait_until_serving(self.node)
            self._report("loading images")
            self.cluster_build.names.update(self.image_set.load(self.node, self.request.containerd))
            self._init() if self.first else self._join()
        except BaseException:
            if self.first:
                self.cluster_build.credentials.publish("")
            raise

    def _kubelet(self) -> None:
        """Add the kubelet as a service that starts when kubeadm has written its files."""
        tunables.mount_wanted_values(self.node)
        self.node.path(kubeadm.MANIFESTS).mkdir(parents=True)
        self.node.write(kubeadm.RESOLVER, kubeadm.resolver(self.request.layout))
        for name in ("kubeadm", "kubectl", "kubelet", "etcd"):
            self.node.link_program(self.request.kubernetes.folder / name)
        argv = kubeadm.kubelet_argv(self.request.kubernetes.program("kubelet"), self.plan.addresses)
        self.node.serve(Service(kubeadm.KUBELET, argv, after=kubeadm.KUBELET_FILES))

    def _kubeadm(self, verb: str, text: str, timeout_seconds: float) -> None:
        self.node.write(kubeadm.CONFIG, text)
        argv = ("kubeadm", verb, "--config", kubeadm.CONFIG, "--ignore-preflight-errors", "all")
        try:
            self.node.run(*argv, timeout_seconds=timeout_seconds)
        except CommandError as failed:
            raise NodeError(f"{failed}\nthe kubelet's log ends: {self.node.log(kubeadm.KUBELET)[-2000:]}") from None

    def _init(self) -> None:
        self._report("kubeadm init")
        credentials = self.cluster_build.credentials
        text = kubeadm.init(self.request.layout, self.plan, self.request.kubernetes.version, credentials.token)
        self._kubeadm("init", text, INIT_SECONDS)
        # `kubeadm token create` prints the join command, which has the hash.
        join_command = self.node.run("kubeadm", "token", "create", "--print-join-command").output
        credentials.publish(kubeadm.read_ca_hash(join_command))
        self._report("control plane", done=True)

    def _join(self) -> None:
        self._report("waiting for the control plane")
        ca_hash = self.cluster_build.credentials.wait()
        self._report("kubeadm join")
        self._kubeadm(
            "join",
            kubeadm.join(self.request.layout, self.plan, self.cluster_build.credentials.token, ca_hash),
            JOIN_SECONDS,
        )
        self._report("joined", done=True)
