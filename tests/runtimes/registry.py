# SPDX-License-Identifier: Apache-2.0
"""A registry of one image, as far as a client that pulls needs one (OCI distribution specification, "Pull")."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from podwire_lab.archive import Image

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _described(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


@contextmanager
def registry(image: Image) -> Iterator[str]:
    """Serves the image under every name, without encryption; `host:port`."""
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described(CONFIG, image.config()),
            "layers": [_described(LAYER, layer) for layer in image.layers],
        }
    ).encode()
    blobs = {_digest(content): content for content in (image.config(), *image.layers)}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("/")
            content = manifest if "manifests" in parts else blobs.get(parts[-1], b"{}")
            self.send_response(200)
            self.send_header("Content-Type", MANIFEST if "manifests" in parts else "application/octet-stream")
            self.send_header("Docker-Content-Digest", _digest(content))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 (the base class looks for methods of these names)

        def log_message(self, format: str, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
