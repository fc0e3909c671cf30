"""Builds a lab: the underlay, then all nodes at once, each with its agent, its containerd and its pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from podwire_lab import containerd, images, lock, netns, network, node, programs, root, runtime
from podwire_lab.containerd import Containerd
from podwire_lab.cri import Cri
from podwire_lab.layout import INTERNET, INTERNET_ADDRESS, Layout, NodePlan, PodPlan
from podwire_lab.node import Node, NodeError
from podwire_lab.progress import Steps
from podwire_lab.underlay import Underlay

NGINX_PORT = 80


class LabExistsError(RuntimeError):
    """There is a lab of that name, or what is left of one."""


@dataclass(frozen=True)
class Order:
    """A lab to be built: its name, its layout, what runs in it.

    `images` are other images for the pods, by the names of the lab's own (nginx, bash): registry references, or files.
    """

    lab: str
    layout: Layout
    containerd: Containerd = field(default_factory=containerd.debian)
    images: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Supply:
    """The archives that every node is given, and which one holds the image of the pods of a kind."""

    own: Sequence[Path]
    others: Mapping[str, Path]

    def load(self, where: Node, containerd: Containerd) -> dict[str, str]:
        """Give a node's runtime all of them; the pods' images by kind. Raises CommandError, NodeError."""
        for archive in self.own:
            runtime.load(where, containerd, archive)
        named = {kind: runtime.load_one(where, containerd, archive) for kind, archive in self.others.items()}
        return {**images.NAMES, **named}


def up(order: Order, steps: Steps) -> None:
    """Build a lab; whatever stops it, nothing of it stays.

    Raises LabExistsError, LabBusyError, NodeError, CommandError, NotInstalledError, InstallationError.
    """
    with lock.hold(order.lab):
        refuse_existing(order.lab)
        try:
            supply = prepare(order.containerd, order.images, steps, {"from Debian's packages": images.built})
            Underlay(order.lab, order.layout).make()
            steps.step("underlay", shape(order.layout), done=True)
            works = [Builder(order, plan, supply, steps).build for plan in order.layout.nodes]
            all_at_once(works, lambda: node.remove_places(order.lab))
        except BaseException:  # also of a signal
            node.remove_places(order.lab)
            raise


def refuse_existing(lab: str) -> None:
    """Raises LabExistsError if anything of a lab is there."""
    if node.read_places(lab):
        removal = f"`podwire lab down --name {lab}` removes it"
        raise LabExistsError(f"lab {lab} is there already, whole or in part: {removal}")


def prepare(
    containerd: Containerd, wanted: Mapping[str, str], steps: Steps, built: Mapping[str, Callable[[], Path]]
) -> Supply:
    """Have all images at hand: those that are `built` here (by what they are), and the `wanted` ones of pods.

    Raises NotInstalledError, CommandError.
    """
    programs.check(containerd.programs)
    own, others = [], {}
    for words, build in built.items():
        steps.step("images", words)
        own.append(build())
    for kind, reference in wanted.items():
        steps.step("images", f"{kind}: {reference}")
        others[kind] = images.pulled(reference)
    size = sum(archive.stat().st_size for archive in own)
    steps.step("images", f"{size / 1e6:.0f} MB, kept in {images.folder()}", done=True)
    return Supply(own, others)


def shape(layout: Layout) -> str:
    """The underlay in words."""
    segments = len(layout.segments)
    return "one segment" if segments == 1 else f"{segments} segments with a router between them"


def all_at_once(works: Sequence[Callable[[], None]], break_off: Callable[[], object]) -> None:
    """Do all works at once; at the first failure, or a signal, `break_off` has the others fail soon. Raises it."""
    with ThreadPoolExecutor(len(works) or 1) as workers:
        doing: list[Future[None]] = [workers.submit(work) for work in works]
        try:
            done, _ = wait(doing, return_when=FIRST_EXCEPTION)
            for each in done:
                each.result()
        except BaseException:
            break_off()
            raise


def all_names(layout: Layout) -> dict[str, list[str]]:
    """All hosts' addresses by name."""
    nodes = {plan.name: list(plan.addresses) for plan in layout.nodes}
    return {**nodes, INTERNET: [INTERNET_ADDRESS[family] for family in layout.families]}


@dataclass(frozen=True)
class Builder:
    """Builds one node of a lab."""

    order: Order
    plan: NodePlan
    supply: Supply
    steps: Steps

    @property
    def node(self) -> Node:
        """The node."""
        return Node(Underlay(self.order.lab, self.order.layout).node(self.plan))

    def _say(self, words: str, *, done: bool = False) -> None:
        self.steps.step(self.plan.name, words, done=done)

    def build(self) -> None:
        """From nothing to pods that answer."""
        self._say("namespaces and a file tree")
        self.node.start()
        self.node.write("/etc/hosts", root.hosts(self.plan.name, all_names(self.order.layout)))
        self._say("podwire and containerd start")
        network.install(self.node)
        self.node.write(network.SETTINGS, network.settings(self.order.layout, self.plan))
        self.node.serve(network.agent("--config", network.SETTINGS))
        cri = runtime.begin(self.node, self.order.containerd)
        runtime.wait_until_serving(self.node)
        self._say("containerd takes the images")
        names = self.supply.load(self.node, self.order.containerd)
        self._wait_for_network(cri)
        self._say("pods start")
        pods = [partial(self._run_pod, cri, pod, names) for pod in self.plan.pods]
        all_at_once(pods, lambda: None)
        self._say(", ".join(["runs", *(pod.name for pod in self.plan.pods)]), done=True)

    def _wait_for_network(self, cri: Cri) -> None:
        """The agent's configuration first, so that a failure is told in the agent's words."""
        self.node.wait_for(lambda: self.node.path(network.CONFLIST).exists(), network.AGENT)
        runtime.wait_until_ready(cri)

    def _run_pod(self, cri: Cri, pod: PodPlan, names: Mapping[str, str]) -> None:
        """A pod with a container; the shell's sleeps whatever its image would run."""
        container = cri.begin_pod(pod.name, names[pod.image], images.SLEEP if pod.image == "bash" else ())
        if pod.image != "nginx":
            return
        for address in cri.addresses(cri.sandbox_of(container)):
            try:
                node.wait_until(
                    partial(netns.answers, self.node.place, address, NGINX_PORT), f"{pod.name} at {address}"
                )
            except TimeoutError as late:
                said = cri.call("logs", container, check=False)
                raise NodeError(f"{late}; its log ends: {(said.output + said.error)[-2000:]}") from late


def down(lab: str) -> int:
    """Remove a lab, whatever is left of it; how many hosts that were. Raises LabBusyError, TimeoutError."""
    images.sweep()
    return len(node.remove_lab(lab))
