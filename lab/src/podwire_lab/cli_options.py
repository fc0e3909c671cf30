# SPDX-License-Identifier: Apache-2.0
"""The options of `podwire lab up` and `run`, and the lab that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from podwire.cli.errors import UserError
from podwire.record import Record

if TYPE_CHECKING:
    from podwire_lab.containerd import Containerd
    from podwire_lab.layout import Layout
    from podwire_lab.progress import Steps

ONLY_KUBERNETES = ("kubernetes_bin", "manifest", "no_network")


class Plan(Record):
    """A lab that is going to be built: its layout and the function that builds it."""

    layout: Layout
    build: Callable[[Steps], None]


def options() -> argparse.ArgumentParser:
    """The options that describe a lab."""
    parser = argparse.ArgumentParser(add_help=False)
    add = parser.add_argument
    add("--nodes", type=int, default=3, metavar="N", help="master and N-1 workers, up to 8 (default: %(default)s)")
    add("--topology", choices=("l2", "routed"), default="l2", help="one segment, or worker-2 behind a router")
    add("--mode", choices=("routed", "bridge"), default="routed", help="podwire's mode (default: %(default)s)")
    add("--family", choices=("v4", "v6", "dual"), default="dual", help="the IP families (default: %(default)s)")
    add(
        "--tunnel",
        choices=("auto", "always", "never"),
        default="auto",
        help="VXLAN between nodes (default: if a router is between them)",
    )
    add(
        "--image",
        action="append",
        default=[],
        metavar="nginx=IMAGE|bash=IMAGE",
        help="the image of these pods: a registry reference (pulled by podman) or a FILE (default: built here)",
    )
    add("--containerd", type=Path, metavar="DIR", help="the folder of containerd's programs (default: Debian's)")
    add = parser.add_argument_group("Kubernetes").add_argument
    add("--kubernetes", action="store_true", help="build a real cluster: kubeadm init, kubeadm join, kubectl apply")
    add(
        "--kubernetes-bin",
        type=Path,
        metavar="DIR",
        help="the folder of Kubernetes' programs, with etcd and coredns (default: built once, in about ten minutes)",
    )
    add("--manifest", type=Path, metavar="FILE", help="podwire's manifest (default: deploy/podwire.yaml)")
    add(
        "--no-network",
        action="store_true",
        help="do not apply podwire's manifest: nodes stay NotReady until you apply it",
    )
    return parser


def plan(lab: str, asked: argparse.Namespace) -> Plan:
    """The lab that the options describe; raises UserError, NotInstalledError."""
    from podwire_lab import containerd, images, lab_host, layout

    try:
        lab_host.check_label(lab)
        wanted = layout.layout(layout.LabSpec(asked.nodes, asked.topology, asked.mode, asked.family, asked.tunnel))
    except ValueError as error:
        raise UserError(str(error)) from None
    others = dict(text.partition("=")[::2] for text in asked.image)
    if unknown := [kind for kind, reference in others.items() if kind not in images.NAMES or not reference]:
        raise UserError(f"--image {unknown[0]}: write --image bash=IMAGE or --image nginx=IMAGE")
    runtime = containerd.found(asked.containerd) if asked.containerd else containerd.debian()
    if asked.kubernetes:
        return Plan(wanted, _cluster(lab, wanted, runtime, others, asked))
    if alone := [name for name in ONLY_KUBERNETES if getattr(asked, name)]:
        raise UserError(f"--{alone[0].replace('_', '-')} needs --kubernetes: add it")
    from podwire_lab import up

    request = up.BuildRequest(lab, wanted, runtime, others)
    return Plan(wanted, lambda steps: up.up(request, steps))


def _cluster(
    lab: str, layout: Layout, runtime: Containerd, others: dict[str, str], asked: argparse.Namespace
) -> Callable[[Steps], None]:
    """The function that builds a Kubernetes cluster."""
    from podwire_lab.kubernetes import manifests, programs, up

    manifest = asked.manifest or manifests.own()
    try:
        text = manifests.network(manifest.read_text(), layout)
    except OSError as error:
        raise UserError(f"{manifest}: {error.strerror}: name podwire's manifest with --manifest") from None
    except ValueError as error:
        raise UserError(f"{manifest}: {error}: name podwire's manifest with --manifest") from None
    kubernetes = programs.found(asked.kubernetes_bin)
    request = up.ClusterBuildRequest(
        lab, layout, kubernetes, manifest, "" if asked.no_network else text, runtime, others
    )
    return lambda steps: up.up(request, steps)
