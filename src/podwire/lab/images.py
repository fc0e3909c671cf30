"""Container images built on this machine from Debian's packages: no registry is asked.

An image is a `docker-archive`: a tar of a configuration, layers and a manifest, which containerd, podman and docker
all read. It is built the same from the same files, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
POD_IMAGE = "localhost/podwire-lab/busybox:latest"
PAUSE_IMAGE = "localhost/podwire-lab/pause:latest"
# Sleeps until it is told to end: a shell as process 1 takes no signal that it has no trap for.
SLEEP = ("/bin/sh", "-c", "trap 'exit 0' TERM INT; sleep 1000000000 & wait")


@dataclass(frozen=True)
class Image:
    """An image: its names, its layers (tars), and what it runs."""

    names: tuple[str, ...]
    layers: tuple[bytes, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def _add(tar: tarfile.TarFile, name: str, content: bytes = b"", **attributes: object) -> None:
    """One member with no owner but root and no time but the epoch."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in attributes.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def _tar(members: Iterable[tuple[str, bytes, Mapping[str, object]]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, attributes in members:
            _add(tar, name, content, **attributes)
    return out.getvalue()


def busybox_layer(program: bytes, applets: Iterable[str]) -> bytes:
    """A whole small system: busybox, a name for each of its applets, and the files that programs expect."""
    folder: dict[str, object] = {"type": tarfile.DIRTYPE, "mode": 0o755}
    link: dict[str, object] = {"type": tarfile.SYMTYPE, "mode": 0o777, "linkname": "/bin/busybox"}
    plain: dict[str, object] = {"mode": 0o644}
    folders = ("bin", "dev", "etc", "proc", "root", "run", "sys", "usr", "usr/bin", "usr/sbin", "var")
    return _tar(
        [
            *((name, b"", folder) for name in folders),
            ("tmp", b"", {**folder, "mode": 0o1777}),
            ("bin/busybox", program, {"mode": 0o755}),
            *((f"bin/{applet}", b"", link) for applet in sorted(set(applets)) if applet != "busybox"),
            ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", plain),
            ("etc/group", b"root:x:0:\nnogroup:x:65534:\n", plain),
        ]
    )


def archive(image: Image) -> bytes:
    """The image as a docker-archive."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in image.layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Cmd": list(image.command),
            "Env": [f"{key}={value}" for key, value in image.environment.items()],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "podwire lab"} for _ in digests],
    }
    config_bytes = json.dumps(config, sort_keys=True).encode()
    config_name = f"{hashlib.sha256(config_bytes).hexdigest()}.json"
    layer_names = [f"{digest}.tar" for digest in digests]
    manifest = [{"Config": config_name, "RepoTags": list(image.names), "Layers": layer_names}]
    return _tar(
        [
            (config_name, config_bytes, {}),
            *((name, layer, {}) for name, layer in zip(layer_names, image.layers, strict=True)),
            ("manifest.json", json.dumps(manifest).encode(), {}),
        ]
    )


def busybox_image(busybox: Path = BUSYBOX) -> Image:
    """Debian's static busybox as the image of a pod's sandbox and of a pod: it sleeps, and has ping, nc, wget.

    Raises FileNotFoundError where the package busybox-static is not installed.
    """
    listed = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True)
    layer = busybox_layer(busybox.resolve().read_bytes(), listed.stdout.split())
    return Image((POD_IMAGE, PAUSE_IMAGE), (layer,), SLEEP)
