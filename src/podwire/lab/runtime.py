"""A node's container runtime, from its configuration to the moment in which pods can be made."""

from __future__ import annotations

from pathlib import Path

from podwire.lab import containerd, images, programs
from podwire.lab.containerd import Containerd
from podwire.lab.cri import Cri
from podwire.lab.node import Node

_CRICTL_CONFIG = f"runtime-endpoint: unix://{containerd.SOCKET}\nimage-endpoint: unix://{containerd.SOCKET}\n"


def start(node: Node, runtime: Containerd) -> Cri:
    """Start containerd in a node, with the pods' image; pods can be made once the node has a CNI configuration.

    Raises NodeError with the end of containerd's log if it does not answer.
    """
    node.write(containerd.CONFIG, runtime.config(images.PAUSE_IMAGE))
    node.write("/etc/crictl.yaml", _CRICTL_CONFIG)
    node.serve(runtime.service())
    node.wait_for(lambda: node.run(*runtime.ctr("version"), check=False).ok, "containerd")
    load(node, runtime, images.archive(images.busybox_image()))
    crictl = programs.find("crictl")
    node.link_program(crictl)
    return Cri(node, crictl)


def load(node: Node, runtime: Containerd, archive: bytes) -> None:
    """Give the runtime an image."""
    inside = "/tmp/image.tar"  # noqa: S108 (the node's own)
    node.path(inside).write_bytes(archive)
    node.run(*runtime.ctr("images", "import", inside))
    node.path(inside).unlink()


def wait_until_ready(cri: Cri) -> None:
    """Wait until containerd has read a CNI configuration; raises NodeError with the end of its log."""
    cri.node.wait_for(lambda: cri.ready, "containerd")


def install_programs(node: Node, *files: Path) -> None:
    """Copy programs into the node's CNI folder."""
    node.run("cp", *map(str, files), containerd.CNI_BIN_DIR)
