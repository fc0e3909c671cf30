"""The options of `podwire lab up` and `run`, and the lab that they ask for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from podwire.cli.errors import UserError

if TYPE_CHECKING:
    from podwire_lab.containerd import Containerd
    from podwire_lab.layout import Layout
    from podwire_lab.progress import Steps

ONLY_KUBERNETES = ("kubernetes_bin", "manifest", "no_network")


@dataclass(frozen=True)
class Plan:
    """A lab to be: what it has, and how it is built."""

    layout: Layout
    build: Callable[[Steps], None]


def options() -> argparse.ArgumentParser:
    """What a lab can be asked to be."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--nodes", type=int, default=3, metavar="N", help="master and N-1 workers, up to 8 (default: %(default)s)")
    add("--topology", choices=("l2", "routed"), default="l2", help="one segment, or worker-2 behind a router")
    add("--mode", choices=("routed", "bridge"), default="routed", help="how pods are wired (default: %(default)s)")
    add("--family", choices=("v4", "v6", "dual"), default="dual", help="of all addresses (default: %(default)s)")
    add(
        "--tunnel",
        choices=("auto", "always", "never"),
        default="auto",
        help="VXLAN between nodes (default: where needed)",
    )
    add(
        "--image",
        action="append",
        default=[],
        metavar="nginx=IMAGE|bash=IMAGE",
        help="pods of this kind run an image of a registry (by podman), or of a FILE, instead of one built here",
    )
    add("--containerd", type=Path, metavar="DIR", help="the folder of another containerd (default: Debian's)")
    add = parser.add_argument_group("Kubernetes").add_argument
    add("--kubernetes", action="store_true", help="a real cluster: kubeadm init, kubeadm join, kubectl apply")
    add(
        "--kubernetes-bin",
        type=Path,
        metavar="DIR",
        help="the folder of Kubernetes' programs, with etcd and coredns (default: built here once, some ten minutes)",
    )
    add("--manifest", type=Path, metavar="FILE", help="podwire's manifest (default: deploy/podwire.yaml)")
    add("--no-network", action="store_true", help="apply nothing: nodes stay NotReady until you do")
    return parser


def plan(lab: str, asked: argparse.Namespace) -> Plan:
    """The lab that is asked for; raises UserError, NotInstalledError."""
    from podwire_lab import containerd, images, layout, place

    try:
        place.check_label(lab)
        wanted = layout.layout(layout.Wish(asked.nodes, asked.topology, asked.mode, asked.family, asked.tunnel))
    except ValueError as wrong:
        raise UserError(str(wrong)) from None
    others = dict(each.partition("=")[::2] for each in asked.image)
    if unknown := [kind for kind, reference in others.items() if kind not in images.NAMES or not reference]:
        raise UserError(f"--image {unknown[0]}: write it like --image bash=IMAGE (or nginx=IMAGE)")
    runtime = containerd.found(asked.containerd) if asked.containerd else containerd.debian()
    if asked.kubernetes:
        return Plan(wanted, _cluster(lab, wanted, runtime, others, asked))
    if alone := [name for name in ONLY_KUBERNETES if getattr(asked, name)]:
        raise UserError(f"--{alone[0].replace('_', '-')} goes with --kubernetes: add it")
    from podwire_lab import up

    order = up.Order(lab, wanted, runtime, others)
    return Plan(wanted, lambda steps: up.up(order, steps))


def _cluster(
    lab: str, layout: Layout, runtime: Containerd, others: dict[str, str], asked: argparse.Namespace
) -> Callable[[Steps], None]:
    """How a Kubernetes cluster is built."""
    try:
        from podwire_lab.kubernetes import manifests, programs, up
    except ImportError as missing:
        raise UserError(f"--kubernetes needs {missing.name}: pip install 'podwire[kubernetes]'") from None
    manifest = asked.manifest or manifests.own()
    try:
        text = manifests.network(manifest.read_text(), layout)
    except OSError as refused:
        raise UserError(f"{manifest}: {refused.strerror}: name podwire's manifest with --manifest") from None
    except ValueError as wrong:
        raise UserError(f"{manifest}: {wrong}: name podwire's manifest with --manifest") from None
    kubernetes = programs.found(asked.kubernetes_bin)
    order = up.Order(lab, layout, kubernetes, manifest, "" if asked.no_network else text, runtime, others)
    return lambda steps: up.up(order, steps)
