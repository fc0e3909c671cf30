# SPDX-License-Identifier: Apache-2.0
"""Builds container images as a docker-archive: a tar of configurations, layers and a manifest. Pure.

containerd, podman and docker read it. The same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from podwire.record import Record, replace

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Member(Record):
    """A member of a layer: a folder, a link (`target`) or a file with content."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    target: str = ""
    folder: bool = False


class Image(Record):
    """An image: its names, its layers (tars) and its command."""

    names: tuple[str, ...]
    layers: tuple[bytes, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = {"PATH": PATH}
    architecture: str = "amd64"
    entrypoint: tuple[str, ...] = ()

    def config(self) -> bytes:
        """The image's configuration (JSON)."""
        value = {
            "architecture": self.architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {
                "Cmd": list(self.command),
                "Entrypoint": list(self.entrypoint),
                "Env": [f"{key}={value}" for key, value in self.environment.items()],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}" for layer in self.layers]},
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "podwire lab"} for _ in self.layers],
        }
        return json.dumps(value, sort_keys=True).encode()


def layer(members: Iterable[Member]) -> bytes:
    """A layer with the members and their parent folders."""
    wanted = {member.name.lstrip("/"): replace(member, name=member.name.lstrip("/")) for member in members}
    parents = {str(parent) for name in wanted for parent in _parents(name)}
    for parent in parents - wanted.keys():
        wanted[parent] = Member(parent, mode=0o755, folder=True)
    return _tar(wanted[name] for name in sorted(wanted))


def archive(images: Iterable[Image]) -> bytes:
    """The images as a docker-archive; it has a shared layer once."""
    files: dict[str, bytes] = {}
    manifest: list[dict[str, Any]] = []
    for image in images:
        config = image.config()
        config_name = f"{_digest(config)}.json"
        layers = {f"{_digest(content)}.tar": content for content in image.layers}
        files |= {config_name: config, **layers}
        manifest.append({"Config": config_name, "RepoTags": list(image.names), "Layers": list(layers)})
    files["manifest.json"] = json.dumps(manifest).encode()
    return _tar(Member(name, content) for name, content in files.items())


def _parents(name: str) -> Iterable[str]:
    words = name.split("/")[:-1]
    return ("/".join(words[: end + 1]) for end in range(len(words)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tar(members: Iterable[Member]) -> bytes:
    """A tar whose members belong to root and have the time 0."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.mode = member.mode
            if member.folder:
                info.type = tarfile.DIRTYPE
            elif member.target:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, member.target, 0o777
            info.size = len(member.content)
            tar.addfile(info, io.BytesIO(member.content))
    return out.getvalue()
