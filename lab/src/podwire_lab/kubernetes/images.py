# SPDX-License-Identifier: Apache-2.0
"""Builds the images that kubeadm expects from Kubernetes' programs; they share a layer with all programs.

`kubeadm config images list` gives their names, with a repository name that exists only in the lab.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from podwire_lab import images, packages
from podwire_lab.archive import Image, Member, archive, layer
from podwire_lab.command import run
from podwire_lab.kubernetes.kubeadm import REPOSITORY
from podwire_lab.kubernetes.programs import NAMES, Kubernetes

_NFT = "/usr/sbin/nft"  # kube-proxy's tool
_INSIDE = "usr/local/bin"


def built(kubernetes: Kubernetes) -> Path:
    """The archive with all images, built if it does not exist; raises NotInstalledError, CommandError."""
    target = images.folder() / f"kubernetes-{_key(kubernetes)}.tar"
    if not target.exists():
        with images.temporary_folder() as here:
            beside = here / "images.tar"
            beside.write_bytes(archive(_images(kubernetes)))
            beside.replace(target)
    return target


def _key(kubernetes: Kubernetes) -> str:
    """A hash of the recipe and the inputs; the programs are large, so their sizes and times stand for them."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(images.__file__).read_bytes())
    digest.update(packages.versions(["nftables", "busybox-static", "libc6"]).encode())
    for name in NAMES:
        file = (kubernetes.folder / name).stat()
        digest.update(f"{name} {file.st_size} {file.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _images(kubernetes: Kubernetes) -> list[Image]:
    base, architecture = images.base_layer(), packages.architecture()
    tools = layer([*packages.program(_NFT, "nftables"), *_programs(kubernetes)])
    entrypoints = layer([Member("coredns", target=f"/{_INSIDE}/coredns")])
    names = _names(kubernetes)
    return [
        Image(tuple(names["pause"]), (base,), images.SLEEP, architecture=architecture),
        Image(
            tuple(names["coredns"]), (base, tools, entrypoints), (), architecture=architecture, entrypoint=("/coredns",)
        ),
        Image(tuple(names["others"]), (base, tools), ("/bin/sh",), architecture=architecture),
    ]


def _names(kubernetes: Kubernetes) -> dict[str, list[str]]:
    """The names that kubeadm lists, by the kind of image."""
    asked = ("--image-repository", REPOSITORY, "--kubernetes-version", kubernetes.version)
    listed = run([kubernetes.program("kubeadm"), "config", "images", "list", *asked]).output.split()
    names: dict[str, list[str]] = {"pause": [], "coredns": [], "others": []}
    for name in listed:
        word = name.removeprefix(f"{REPOSITORY}/").partition(":")[0]
        names[word if word in names else "others"].append(name)
    return names


def _programs(kubernetes: Kubernetes) -> Iterator[Member]:
    """All programs; a program that is the same file as another is a link."""
    first: dict[tuple[int, int], str] = {}
    for name in NAMES:
        file = kubernetes.folder / name
        found = file.stat()
        known = first.setdefault((found.st_dev, found.st_ino), name)
        if known == name:
            yield Member(f"{_INSIDE}/{name}", file.read_bytes(), 0o755)
        else:
            yield Member(f"{_INSIDE}/{name}", target=known)
