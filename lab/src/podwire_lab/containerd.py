# SPDX-License-Identifier: Apache-2.0
"""containerd in a node: its configuration for versions 1.6 (Debian) and 2.x, and its service.

Set are only CNI's two folders, the sandbox image and what a machine without CAP_SYS_RESOURCE needs:
`restrict_oom_score_adj`, because it may not lower an OOM score.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from podwire.record import Record
from podwire_lab.command import CommandError, run
from podwire_lab.programs import NotInstalledError
from podwire_lab.service import Service

NAME = "containerd"
SOCKET = "/run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
CNI_BIN_DIR = "/opt/cni/bin"
CNI_CONF_DIR = "/etc/cni/net.d"
_VERSION = re.compile(r"\sv?(\d+)\.\d+")

_VERSION_2 = """\
version = 2
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = {sandbox_image}
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {bin_dir}
conf_dir = {conf_dir}
max_conf_num = 1
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""

_VERSION_3 = """\
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = {sandbox_image}
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [{bin_dir}]
conf_dir = {conf_dir}
max_conf_num = 1
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


class Containerd(Record):
    """A containerd: the folder of its programs, and the version of its configuration format (2 or 3)."""

    programs: Path
    config_version: int

    def config(self, sandbox_image: str) -> str:
        """The text of the configuration file."""
        template = {2: _VERSION_2, 3: _VERSION_3}[self.config_version]
        values = {"sandbox_image": sandbox_image, "bin_dir": CNI_BIN_DIR, "conf_dir": CNI_CONF_DIR}
        # A JSON string is a TOML string too.
        return template.format(**{key: json.dumps(value) for key, value in values.items()})

    def service(self) -> Service:
        """The service. Its folder is first in PATH, because its shim must have the same version."""
        path = f"{self.programs}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        argv = (str(self.programs / "containerd"), "--config", CONFIG)
        return Service(NAME, argv, {"PATH": path}, after=(CONFIG,))

    def ctr(self, *arguments: str, socket: str = SOCKET) -> list[str]:
        """A `ctr` command in the namespace of Kubernetes' images and pods."""
        # Without the timeout, ctr tries for ten seconds to connect to a containerd whose node was removed.
        reach = ("--address", socket, "--connect-timeout", "3s")
        return [str(self.programs / "ctr"), *reach, "--namespace", "k8s.io", *arguments]


def debian() -> Containerd:
    """The containerd of Debian 12 (1.6)."""
    return Containerd(Path("/usr/bin"), 2)


def found(programs: Path) -> Containerd:
    """The containerd in a folder, of any version; raises NotInstalledError."""
    try:
        answer = run([str(programs / NAME), "--version"]).output
    except (OSError, CommandError) as failed:
        raise NotInstalledError(f"{programs} has no containerd that runs here: {failed}") from None
    version = _VERSION.search(answer)
    return Containerd(programs, 3 if version and int(version[1]) >= 2 else 2)
