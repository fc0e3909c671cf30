"""The demonstration: two real pods on real containerd in a node wired by podwire, and who reaches whom."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from podwire.lab import containerd, network, node, outside, runtime
from podwire.lab.command import CommandError, Done
from podwire.lab.cri import Cri, Pod
from podwire.lab.mirror import PORT, Mirror
from podwire.lab.network import PodNetwork
from podwire.lab.node import Node, NodeError
from podwire.lab.outside import Outside
from podwire.lab.place import Place
from podwire.lab.programs import NotInstalledError

LAB = "demo"
SUBNETS = ("10.244.1.0/24", "fd00:10:244:1::/64")


@dataclass
class Story:
    """What the reader sees: steps, the commands of each with what they said, and a verdict on each claim."""

    console: Console
    claims: list[tuple[str, str, bool]] = field(default_factory=list)
    steps: int = 0

    def step(self, title: str, *words: str) -> None:
        """A new step: what is done, and why."""
        self.steps += 1
        self.console.print(f"\n[bold]{self.steps}. {escape(title)}[/]")
        for line in words:
            self.console.print(f"   [dim]{escape(line)}[/]")

    def said(self, where: str, argv: Sequence[str], answer: Done) -> None:
        """A command as a person would type it there, and its answer."""
        self.console.print(f"   [cyan]{escape(where)}#[/] [bold]{escape(shlex.join(argv))}[/]")
        for line in (answer.output + answer.error).splitlines():
            if line.strip():
                self.console.print(f"     {escape(line.rstrip())}", highlight=False)

    def claim(self, who: str, what: str, holds: bool) -> None:
        """Something that must hold."""
        self.claims.append((who, what, holds))
        sign = "[green]✓[/]" if holds else "[red]✗[/]"
        self.console.print(f"   {sign} {escape(who)} {escape(what)}")

    @property
    def holds(self) -> bool:
        """Whether all that was claimed holds (and something was)."""
        return bool(self.claims) and all(holds for _, _, holds in self.claims)


@dataclass(frozen=True)
class Stage:
    """The node of the demonstration."""

    story: Story
    node: Node

    def run(self, *argv: str) -> Done:
        """Run a command on the node and show it; that it fails is a claim that does not hold."""
        done = self.node.run(*argv, check=False)
        self.story.said(self.node.place.node, argv, done)
        if not done.ok:
            self.story.claim("the node", f"runs {shlex.join(argv)}", False)
        return done

    def in_pod(self, cri: Cri, pod: Pod, *argv: str) -> Done:
        """Run a command in a pod and show it."""
        done = cri.exec(pod, *argv)
        self.story.said(pod.name, argv, done)
        return done

    def ping(self, cri: Cri, pod: Pod, whom: str, address: str) -> None:
        """Claim that a pod reaches an address, and show it: only the echo itself, or else all that ping says."""
        argv = ("ping", "-c", "1", "-W", "5", address)
        done = cri.exec(pod, *argv)
        echoes = [line for line in done.output.splitlines() if "bytes from" in line]
        self.story.said(pod.name, argv, replace(done, output="\n".join(echoes)) if done.ok else done)
        self.story.claim(pod.name, f"reaches {whom}, {address}", done.ok and bool(echoes))


def show_reach(stage: Stage, cri: Cri, pods: Sequence[Pod], beyond: Outside, pod_network: PodNetwork) -> None:
    """The pods call each other, the gateway and the outside; the outside tells whom it saw."""
    for pod, other in zip(pods, reversed(pods), strict=True):
        for address in other.addresses:
            stage.ping(cri, pod, other.name, address)
    for address in pod_network.gateways():
        stage.ping(cri, pods[0], "its gateway", address)
    for address, seen_node in zip(beyond.addresses, beyond.seen_node, strict=True):
        stage.ping(cri, pods[0], "the internet", address)
        seen = stage.in_pod(cri, pods[0], "nc", "-w", "5", address, str(PORT)).output.strip()
        stage.story.claim(pods[0].name, f"is seen by the internet as its node, {seen_node}", seen == seen_node)


def show_end(stage: Stage, cri: Cri, pods: Sequence[Pod]) -> None:
    """The pods are removed as a kubelet would; nothing of them is left on the node."""
    for pod in pods:
        for verb, remove in (("stopp", cri.stop), ("rmp", cri.remove)):
            stage.story.said(stage.node.place.node, ("crictl", verb, pod.sandbox[:13]), remove(pod.sandbox))
    stage.run("ip", "-brief", "link")
    links = json.loads(stage.node.run("ip", "-json", "link").output)
    names = {name for link in links for name in (link["ifname"], *link.get("altnames", []))}
    addresses = {address for pod in pods for address in pod.addresses}
    left = sorted(name for name in names if name in addresses or name.startswith("pw"))
    stage.story.claim("the node", f"keeps {', '.join(left) or 'nothing'} of its pods", not left)


def tell(story: Story, mode: str) -> None:
    """The whole demonstration; raises CommandError, NodeError, NotInstalledError where it cannot go on."""
    here = Node(Place(LAB, "worker-1"))
    stage, pod_network = Stage(story, here), PodNetwork(mode, SUBNETS)

    story.step("A node", "network, mount, PID, UTS, IPC and cgroup namespaces with a file tree of their own")
    here.start()
    beyond = outside.connect(here.place, Place(LAB, "internet"))
    stage.run("hostname")
    stage.run("ip", "-brief", "address")
    story.console.print("   [dim]its default route leads to a host that has no route back to any pod[/]")

    story.step("podwire on it", f"{mode} mode, installed as on any node; the agent answers the plug-in")
    network.install(here, pod_network)
    network.start_agent(here)
    stage.run("ls", containerd.CNI_BIN_DIR, containerd.CNI_CONF_DIR)
    stage.run("cat", network.CONFLIST)

    story.step("containerd", "Debian's, with an image made here from Debian's busybox: no registry is asked")
    cri = runtime.start(here, containerd.debian())
    runtime.wait_until_ready(cri)
    stage.run("crictl", "version")
    stage.run("crictl", "images")

    story.step("Two pods", "as a kubelet makes them: by the container runtime interface")
    pods = [cri.run_pod(name) for name in ("pod-1", "pod-2")]
    stage.run("crictl", "pods")
    stage.run("podwire", "status")
    stage.in_pod(cri, pods[0], "ip", "address", "show", "eth0")
    stage.in_pod(cri, pods[0], "ip", "route")

    story.step("Who reaches whom")
    with Mirror(beyond.place.netns_path):
        show_reach(stage, cri, pods, beyond, pod_network)

    story.step("The pods go")
    show_end(stage, cri, pods)


def run(mode: str = "routed", console: Console | None = None) -> int:
    """Show it, then take everything away; the exit status is 0 only if every claim held.

    Needs root. What an interrupted demonstration left is removed first.
    """
    console = console or Console(soft_wrap=True, emoji=False)
    story = Story(console)
    begin = time.monotonic()
    node.remove_lab(LAB)
    trouble = ""
    try:
        tell(story, mode)
    except (CommandError, NodeError, NotInstalledError, TimeoutError) as wrong:
        trouble = str(wrong)
    finally:
        removed = node.remove_lab(LAB)
    story.step("All of it goes", f"removed: {', '.join(place.node for place in removed)}")
    console.print()
    console.print(verdict(story))
    console.print(f"[dim]in {time.monotonic() - begin:.1f} s[/]")
    if trouble:
        console.print(f"[red]it stopped: {escape(trouble)}[/]")
    return 0 if story.holds and not trouble else 1


def verdict(story: Story) -> Table:
    """All claims in one table."""
    table = Table("", "who", "what", box=None, pad_edge=False, show_header=False)
    for who, what, holds in story.claims:
        table.add_row("[green]✓[/]" if holds else "[red]✗[/]", escape(who), escape(what))
    return table
