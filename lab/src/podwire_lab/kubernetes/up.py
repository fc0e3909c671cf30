"""Builds a Kubernetes cluster in the lab's nodes, as a person does: kubeadm init, kubeadm join, kubectl apply.

All nodes begin at once. The first one becomes the control plane; the others join as soon as it answers and they
have their images. The cluster has no network until podwire's manifest is applied: its nodes are NotReady before,
which is looked at, and what makes them Ready is podwire alone.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

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
from podwire_lab.up import Supply, all_at_once, all_names, prepare, refuse_existing, shape

INIT_SECONDS, JOIN_SECONDS = 240.0, 120.0
READY_SECONDS, RUNNING_SECONDS = 120, 180


@dataclass(frozen=True)
class Order:
    """A cluster to be built. `images` are the pods' by kind, registry references or files.

    `network` is podwire's manifest, made from the file `manifest`; "" leaves the cluster as kubeadm leaves it.
    """

    lab: str
    layout: Layout
    kubernetes: Kubernetes
    manifest: Path
    network: str
    containerd: Containerd = field(default_factory=containerd.debian)
    images: Mapping[str, str] = field(default_factory=dict)


class Entry:
    """What lets other nodes in, known once the first one has it."""

    def __init__(self) -> None:
        letters = string.ascii_lowercase + string.digits
        self.token = f"{_random(letters, 6)}.{_random(letters, 16)}"
        self.ca_hash = ""
        self._known = threading.Event()

    def tell(self, ca_hash: str) -> None:
        """Whoever waits may come; "" if the first node has failed."""
        self.ca_hash = ca_hash
        self._known.set()

    def wait(self) -> str:
        """The hash of the certificate authority; raises NodeError."""
        if not self._known.wait(INIT_SECONDS) or not self.ca_hash:
            raise NodeError("the first node did not become a control plane")
        return self.ca_hash


def _random(letters: str, length: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(length))


def up(order: Order, steps: Steps) -> None:
    """Build the cluster, have podwire wire it, start the pods; whatever stops it, nothing of it stays.

    Raises LabExistsError, LabBusyError, NodeError, CommandError, NotInstalledError, TimeoutError, ValueError.
    """
    with lock.hold(order.lab):
        refuse_existing(order.lab)
        try:
            Building(order, steps).all()
        except BaseException:  # also of a signal
            node.remove_places(order.lab)
            raise


@dataclass(frozen=True)
class Building:
    """One cluster under construction."""

    order: Order
    steps: Steps
    entry: Entry = field(default_factory=Entry)
    names: dict[str, str] = field(default_factory=dict)
    """The pods' images by kind, as the nodes' runtimes know them."""

    @property
    def underlay(self) -> Underlay:
        """Its network of nodes."""
        return Underlay(self.order.lab, self.order.layout)

    @property
    def kubectl(self) -> Kubectl:
        """Its administrator."""
        return Kubectl(Node(self.underlay.node(self.order.layout.nodes[0])))

    def all(self) -> None:
        """From nothing to pods that run."""
        own: dict[str, Callable[[], Path]] = {
            "Kubernetes' programs": partial(kubernetes_images.built, self.order.kubernetes),
            "podwire": podwire_image.archive,
            "from Debian's packages": images.built,
        }
        supply = prepare(self.order.containerd, self.order.images, self.steps, own)
        self.underlay.make()
        self.steps.step("underlay", shape(self.order.layout), done=True)
        works = [Joining(self, plan, supply).build for plan in self.order.layout.nodes]
        all_at_once(works, lambda: node.remove_places(self.order.lab))
        if self.order.network:
            self.network()
            self.pods()

    def network(self) -> None:
        """Apply podwire's manifest and wait until every node is Ready."""
        ready = [each["metadata"]["name"] for each in self.kubectl.get("nodes") if _is_ready(each)]
        if ready:
            raise NodeError(f"{', '.join(ready)}: Ready without a pod network: this cluster has another one already")
        begun = self.steps.seconds
        self.steps.step("podwire", f"kubectl apply -f {self.order.manifest}")
        self.kubectl.apply(self.order.network)
        try:
            self.kubectl.wait("nodes", "Ready", "--all", timeout_seconds=READY_SECONDS)
        except CommandError as late:
            raise NodeError(f"{late}\n{self._why()}") from None
        took = self.steps.seconds - begun
        self.steps.step("podwire", f"all nodes Ready {took:.1f} s after kubectl apply", done=True)

    def pods(self) -> None:
        """Start the layout's pods, and wait for them and for the cluster's own."""
        self.steps.step("pods", "kubectl apply")
        self.kubectl.apply(manifests.pods(self.order.layout, self.names))
        try:
            for where in ("default", "kube-system"):
                self.kubectl.wait("pods", "Ready", "--all", "--namespace", where, timeout_seconds=RUNNING_SECONDS)
        except CommandError as late:
            raise NodeError(f"{late}\n{self._why()}") from None
        running = [pod.name for plan in self.order.layout.nodes for pod in plan.pods]
        self.steps.step("pods", ", ".join(["run", *running]), done=True)

    def _why(self) -> str:
        """What the cluster itself says about pods that do not come up."""
        pods = self.kubectl.call("get", "pods", "--all-namespaces", "--output", "wide", check=False)
        events = self.kubectl.call("get", "events", "--all-namespaces", check=False)
        logs = self.kubectl.call("logs", "--namespace", "podwire", "daemonset/podwire", "--tail", "20", check=False)
        return "\n".join((pods.output, events.output[-3000:], logs.output[-2000:], logs.error[-500:]))


def _is_ready(item: dict[str, object]) -> bool:
    conditions = item["status"]["conditions"]  # type: ignore[index]
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


@dataclass(frozen=True)
class Joining:
    """One node on its way into the cluster."""

    building: Building
    plan: NodePlan
    supply: Supply

    @property
    def order(self) -> Order:
        """The cluster's."""
        return self.building.order

    @property
    def node(self) -> Node:
        """The node."""
        return Node(self.building.underlay.node(self.plan))

    @property
    def first(self) -> bool:
        """Whether it is the control plane."""
        return self.plan is self.order.layout.nodes[0]

    def _say(self, words: str, *, done: bool = False) -> None:
        self.building.steps.step(self.plan.name, words, done=done)

    def build(self) -> None:
        """From nothing to a node of the cluster."""
        try:
            self._say("namespaces and a file tree")
            self.node.start()
            self.node.write("/etc/hosts", root.hosts(self.plan.name, all_names(self.order.layout)))
            self._say("containerd starts")
            runtime.begin(self.node, self.order.containerd)
            self._kubelet()
            runtime.wait_until_serving(self.node)
            self._say("containerd takes the images")
            self.building.names.update(self.supply.load(self.node, self.order.containerd))
            self._init() if self.first else self._join()
        except BaseException:
            if self.first:
                self.building.entry.tell("")
            raise

    def _kubelet(self) -> None:
        """The kubelet as a service that begins when kubeadm has written its files."""
        tunables.cover(self.node)
        self.node.path(kubeadm.MANIFESTS).mkdir(parents=True)
        self.node.write(kubeadm.RESOLVER, kubeadm.resolver(self.order.layout))
        for name in ("kubeadm", "kubectl", "kubelet", "etcd"):
            self.node.link_program(self.order.kubernetes.folder / name)
        argv = kubeadm.kubelet_argv(self.order.kubernetes.program("kubelet"), self.plan.addresses)
        self.node.serve(Service(kubeadm.KUBELET, argv, after=kubeadm.KUBELET_FILES))

    def _kubeadm(self, verb: str, text: str, timeout_seconds: float) -> None:
        self.node.write(kubeadm.CONFIG, text)
        argv = ("kubeadm", verb, "--config", kubeadm.CONFIG, "--ignore-preflight-errors", "all")
        try:
            self.node.run(*argv, timeout_seconds=timeout_seconds)
        except CommandError as failed:
            raise NodeError(f"{failed}\nthe kubelet's log ends: {self.node.log(kubeadm.KUBELET)[-2000:]}") from None

    def _init(self) -> None:
        self._say("kubeadm init")
        entry = self.building.entry
        text = kubeadm.init(self.order.layout, self.plan, self.order.kubernetes.version, entry.token)
        self._kubeadm("init", text, INIT_SECONDS)
        # Asked for a token of its own, kubeadm prints the command to join by: the hash is in it.
        said = self.node.run("kubeadm", "token", "create", "--print-join-command").output
        entry.tell(kubeadm.read_ca_hash(said))
        self._say("control plane", done=True)

    def _join(self) -> None:
        self._say("waits for the control plane")
        ca_hash = self.building.entry.wait()
        self._say("kubeadm join")
        self._kubeadm(
            "join", kubeadm.join(self.order.layout, self.plan, self.building.entry.token, ca_hash), JOIN_SECONDS
        )
        self._say("has joined", done=True)
