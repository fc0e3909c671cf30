# SPDX-License-Identifier: Apache-2.0
"""Builds a lab: the underlay, then all nodes in parallel, each with its agent, its containerd and its pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

from podwire.record import Record
from podwire_lab import containerd, images, lock, netns, network, node, programs, root, runtime
from podwire_lab.containerd import Containerd
from podwire_lab.cri import Cri
from podwire_lab.layout import INTERNET, INTERNET_ADDRESS, Layout, NodePlan, PodPlan
from podwire_lab.node import Node, NodeError
from podwire_lab.progress import Steps
from podwire_lab.underlay import Underlay

NGINX_PORT = 80


class LabExistsError(RuntimeError):
    """A lab with that name exists, perhaps an incomplete one."""


class BuildRequest(Record):
    """A request to build a lab: its name, its layout, its containerd and its images.

    `images` replace the lab's own images by kind (nginx, bash): registry references or files.
    """

    lab: str
    layout: Layout
    containerd: Containerd = containerd.debian()
    images: Mapping[str, str] = {}


class ImageSet(Record):
    """The archives that each node loads: the lab's `own`, and `others` that replace images by kind."""

    own: Sequence[Path]
    others: Mapping[str, Path]

    def load(self, node: Node, containerd: Containerd) -> dict[str, str]:
        """Load all archives into a node; returns the image names by kind. Raises CommandError, NodeError."""
        for archive in self.own:
            runtime.load(node, containerd, archive)
        named = {kind: runtime.load_one(node, containerd, archive) for kind, archive in self.others.items()}
        return {**images.NAMES, **named}


def up(request: BuildRequest, steps: Steps) -> None:
    """Build a lab. After an error or a signal it is removed.

    Raises LabExistsError, LabBusyError, NodeError, CommandError, NotInstalledError, InstallationError.
    """
    with lock.hold(request.lab):
        refuse_existing(request.lab)
        try:
            image_set = prepare(
                request.containerd, request.images, steps, {"building images from Debian's packages": images.built}
            )
            Underlay(request.lab, request.layout).create()
            steps.step("underlay", describe_underlay(request.layout), done=True)
            works = [Builder(request, plan, image_set, steps).build for plan in request.layout.nodes]
            run_in_parallel(works, lambda: node.remove_hosts(request.lab))
        except BaseException:  # also of a signal
            node.remove_hosts(request.lab)
            raise


def refuse_existing(lab: str) -> None:
    """Raises LabExistsError if a lab exists, also an incomplete one."""
    if node.read_hosts(lab):
        removal = f"`podwire lab down --name {lab}` removes it"
        raise LabExistsError(f"lab {lab} exists already: {removal}")


def prepare(
    containerd: Containerd, wanted: Mapping[str, str], steps: Steps, built: Mapping[str, Callable[[], Path]]
) -> ImageSet:
    """Build the images of `built` (functions by progress text) and pull the `wanted` images (references by kind).

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
    steps.step("images", f"{size / 1e6:.0f} MB in {images.folder()}", done=True)
    return ImageSet(own, others)


def describe_underlay(layout: Layout) -> str:
    """The underlay as text."""
    segments = len(layout.segments)
    return "one segment" if segments == 1 else f"{segments} segments with a router between them"


def run_in_parallel(jobs: Sequence[Callable[[], None]], abort: Callable[[], object]) -> None:
    """Run all jobs in parallel; at the first error or a signal, `abort` makes the others fail. Raises the error."""
    with ThreadPoolExecutor(len(jobs) or 1) as workers:
        doing: list[Future[None]] = [workers.submit(job) for job in jobs]
        try:
            done, _ = wait(doing, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:
            abort()
            raise


def all_names(layout: Layout) -> dict[str, list[str]]:
    """The addresses of all hosts by name."""
    nodes = {plan.name: list(plan.addresses) for plan in layout.nodes}
    return {**nodes, INTERNET: [INTERNET_ADDRESS[family] for family in layout.families]}


class Builder(Record):
    """Builds a node of a lab."""

    request: BuildRequest
    plan: NodePlan
    image_set: ImageSet
    steps: Steps

    @property
    def node(self) -> Node:
        """The node."""
        return Node(Underlay(self.request.lab, self.request.layout).node(self.plan))

    def _report(self, words: str, *, done: bool = False) -> None:
        self.steps.step(self.plan.name, words, done=done)

    def build(self) -> None:
        """Build everything up to pods that answer."""
        self._report("creating namespaces and root file system")
        self.node.start()
        self.node.write("/etc/hosts", root.etc_hosts(self.plan.name, all_names(self.request.layout)))
        self._report("starting podwire and containerd")
        network.install(self.node)
        self.node.write(network.SETTINGS, network.settings(self.request.layout, self.plan))
        self.node.serve(network.agent("--config", network.SETTINGS))
        cri = runtime.begin(self.node, self.request.containerd)
        runtime.wait_until_serving(self.node)
        self._report("loading images")
        names = self.image_set.load(self.node, self.request.containerd)
        self._wait_for_network(cri)
        self._report("starting pods")
        pods = [partial(self._run_pod, cri, pod, names) for pod in self.plan.pods]
        run_in_parallel(pods, lambda: None)
        self._report(f"running: {', '.join(pod.name for pod in self.plan.pods) or 'no pods'}", done=True)

    def _wait_for_network(self, cri: Cri) -> None:
        """Wait for the agent's CNI configuration first, so that an error has the agent's log."""
        self.node.wait_for(lambda: self.node.path(network.CONFLIST).exists(), network.AGENT)
        runtime.wait_until_ready(cri)

    def _run_pod(self, cri: Cri, pod: PodPlan, names: Mapping[str, str]) -> None:
        """Start a pod and wait until nginx answers; the shell's container sleeps instead of its image's command."""
        container = cri.begin_pod(pod.name, names[pod.image], images.SLEEP if pod.image == "bash" else ())
        if pod.image != "nginx":
            return
        for address in cri.addresses(cri.sandbox_of(container)):
            try:
                node.wait_until(partial(netns.answers, self.node.host, address, NGINX_PORT), f"{pod.name} at {address}")
            except TimeoutError as error:
                log = cri.call("logs", container, check=False)
                raise NodeError(f"{error}; its log ends: {(log.output + log.error)[-2000:]}") from error


def down(lab: str) -> int:
    """Remove a lab, also an incomplete one; returns the number of hosts. Raises LabBusyError, TimeoutError."""
    images.remove_unfinished()
    return len(node.remove_lab(lab))
