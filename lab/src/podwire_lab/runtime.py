# SPDX-License-Identifier: Apache-2.0
"""Starts a node's container runtime, waits until it is ready, and loads images."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from pathlib import Path

from podwire_lab import containerd, images, programs, service
from podwire_lab.command import run
from podwire_lab.containerd import Containerd
from podwire_lab.cri import Cri
from podwire_lab.node import Node, NodeError

_CRICTL_CONFIG = f"runtime-endpoint: unix://{containerd.SOCKET}\nimage-endpoint: unix://{containerd.SOCKET}\n"
_IMPORTED = re.compile(r"^(?:unpacking )?(\S+)", re.MULTILINE)


def begin(node: Node, runtime: Containerd) -> Cri:
    """Configure and start containerd in a node without waiting for it, and link `crictl` into its PATH."""
    node.write(containerd.CONFIG, runtime.config(images.PAUSE))
    node.write("/etc/crictl.yaml", _CRICTL_CONFIG)
    node.serve(runtime.service())
    crictl = programs.find("crictl")
    node.link_program(crictl)
    return Cri(node, crictl)


def of_node(node: Node) -> Containerd:
    """The containerd that a node runs; raises NodeError."""
    wanted = service.read_services(node.host.folder).get(containerd.NAME)
    if wanted is None:
        raise NodeError(f"{node.host.node} has no containerd")
    return containerd.found(Path(wanted.argv[0]).parent)


def wait_until_serving(node: Node) -> None:
    """Wait until containerd accepts connections; raises NodeError with the end of its log."""
    node.wait_for(lambda: _serves(node.path(containerd.SOCKET)), containerd.NAME)


def start(node: Node, runtime: Containerd) -> Cri:
    """Start containerd and load the lab's images; pods also need a CNI configuration on the node.

    Raises NodeError with the end of containerd's log if it does not answer.
    """
    cri = begin(node, runtime)
    wait_until_serving(node)
    load(node, runtime, images.built())
    return cri


def load(node: Node, runtime: Containerd, archive: Path) -> list[str]:
    """Load the images of an archive; returns their names. Raises CommandError."""
    client = runtime.ctr("images", "import", str(archive), socket=str(node.path(containerd.SOCKET)))
    return _IMPORTED.findall(run(client).output)


def load_one(node: Node, runtime: Containerd, archive: Path) -> str:
    """Load the image of an archive; returns its name. Raises CommandError, and NodeError if it has no name."""
    loaded = load(node, runtime, archive)
    if not loaded:
        raise NodeError(f"{archive} has no image with a name: save the image with a name")
    return loaded[0]


def wait_until_ready(cri: Cri) -> None:
    """Wait until containerd has read a CNI configuration; raises NodeError with the end of its log."""
    cri.node.wait_for(lambda: cri.ready, containerd.NAME)


def install_programs(node: Node, *files: Path) -> None:
    """Copy programs into the node's CNI folder."""
    node.run("cp", *map(str, files), containerd.CNI_BIN_DIR)


def _serves(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller, suppress(OSError):
        caller.connect(str(path))
        return True
    return False
