# SPDX-License-Identifier: Apache-2.0
"""One node with a real containerd, and podwire on it as Kubernetes runs it: the image, started as the manifest says.

The API server is the scripted one, behind TLS; the kubelet's part is done by `kubelet.py`.
"""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from podwire_lab import lock, node, podwire_image, runtime
from podwire_lab.containerd import Containerd
from podwire_lab.cri import Cri
from podwire_lab.layout import CLUSTER
from podwire_lab.node import Node
from podwire_lab.underlay import Underlay
from tests.cluster.scripted import PORT, Scripted
from tests.runtimes.kubelet import PodOnNode
from tests.runtimes.world import LAB_PREFIX, ONE_NODE, Inside
from tests.support.namespace import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
PLAN = ONE_NODE.nodes[0]
SECRET = base64.b64encode(b"nobody may find this on the node").decode()
CONFLIST = "/etc/cni/net.d/10-podwire.conflist"
SOCKET = "/run/podwire/agent.sock"
Object = dict[str, Any]


def manifest(name: str) -> list[Object]:
    """The objects of a file in deploy/."""
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]


def of_kind(objects: list[Object], kind: str) -> Object:
    """The one object of this kind."""
    (found,) = (resource for resource in objects if resource["kind"] == kind)
    return found


class TlsApi(Scripted):
    """The scripted API server as a pod finds it: HTTPS, by the environment and the service account's files."""

    def __init__(self, host: Inside, folder: Path) -> None:
        super().__init__(host, folder)
        self.own: Counter[str] = Counter()
        self.url, self.token = f"https://127.0.0.1:{PORT}", SECRET
        self.authority, self._key = folder / "ca.crt", folder / "key.pem"
        subject = ("-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1")
        files = ("-keyout", str(self._key), "-out", str(self.authority))
        argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)

    def start(self) -> None:
        """Serve."""
        super().start()
        assert self.authority and self._server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority, self._key)
        # The handshake is the handler's thread's: whoever connects and is silent holds up nobody.
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def request(self, method: str, path: str, body: Any = None, media: str = "application/json") -> Any:
        """The tests' own."""
        self.own[f"{method} {path}"] += 1
        return super().request(method, path, body, media)

    def of_agent(self) -> list[str]:
        """The requests so far that the agent made."""
        return list((Counter(self.requests) - self.own).elements())

    @property
    def account(self) -> dict[str, str]:
        """The service account's files."""
        assert self.authority
        return {"token": self.token, "ca.crt": self.authority.read_text(), "namespace": "podwire"}


@dataclass
class PodwireNode:
    """The node, its runtime, the API server, and the pod of podwire's DaemonSet."""

    here: Node
    cri: Cri
    api: TlsApi
    network: Inside
    pod: PodOnNode
    agent: str = ""

    def container(self, name: str) -> Object:
        """A container of the pod, as the manifest has it."""
        spec = self.pod.spec
        (found,) = (each for each in (*spec["initContainers"], *spec["containers"]) if each["name"] == name)
        return dict(found)

    def install(self) -> None:
        """As a kubelet: volumes and sandbox (once), init container, agent; until the node takes pods."""
        if not self.pod.sandbox:
            self.pod.prepare()
        assert self.pod.run(self.container("install")) == 0, self.pod.log("install")
        self.start_agent()
        runtime.wait_until_ready(self.cri)

    def remove_pods(self) -> None:
        """All pods but podwire's own."""
        for sandbox in set(self.cri.sandboxes()) - {self.pod.sandbox}:
            self.cri.call("rmp", "--force", sandbox)

    def start_agent(self, container: Object | None = None) -> None:
        """Start the agent and wait until its socket is there, or until it ends."""
        self.agent = self.pod.start(container or self.container("agent"))
        assert wait_until(lambda: self.here.path(SOCKET).exists() or not self.agent_runs())

    def agent_runs(self) -> bool:
        """Whether the agent's container runs."""
        return bool(self.pod.state(self.agent)["state"] == "CONTAINER_RUNNING")

    def stop_agent(self) -> None:
        """End the agent as a kubelet would."""
        self.pod.stop(self.agent)

    def wait_ready(self) -> None:
        """Wait until the runtime takes pods."""
        runtime.wait_until_ready(self.cri)

    def log(self) -> str:
        """What the agent has said."""
        return self.pod.log("agent")

    def files_in(self, folder: str) -> list[str]:
        """The names in a folder of the node."""
        return sorted(path.name for path in self.here.path(folder).iterdir())

    def sysctl(self, path: str, value: str | None = None) -> str:
        """A setting of the node's network namespace; set, if there is a value."""
        if value is not None:
            self.here.run("tee", f"/proc/sys/{path}", stdin=value)
        return self.here.run("cat", f"/proc/sys/{path}").output.strip()


def common_settings() -> dict[str, dict[str, str]]:
    """The manifest's ConfigMap with both families' ranges in it."""
    config = of_kind(manifest("podwire.yaml"), "ConfigMap")
    text = config["data"]["podwire.toml"]
    both = text.replace('["10.244.0.0/16"]', f'["{CLUSTER[4]}", "{CLUSTER[6]}"]')
    assert both != text
    return {config["metadata"]["name"]: {"podwire.toml": both}}


@contextmanager
def podwire_node(containerd: Containerd, folder: Path) -> Iterator[PodwireNode]:
    """A node with the image, whose Node the API server has, and nothing else of podwire; all of it goes at the end."""
    archive = podwire_image.archive()
    underlay = Underlay(f"{LAB_PREFIX}-{os.getpid()}-image", ONE_NODE)
    here = Node(underlay.node(PLAN))
    api: TlsApi | None = None
    try:
        with lock.hold(here.host.lab):
            underlay.create()
            here.start()
        network = Inside(here.host)
        api = TlsApi(network, folder)
        api.start()
        api.add_node(PLAN.name, list(PLAN.addresses), list(PLAN.pod_cidrs))
        cri = runtime.start(here, containerd)
        runtime.load(here, containerd, archive)
        spec = of_kind(manifest("podwire.yaml"), "DaemonSet")["spec"]["template"]["spec"]
        server = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(PORT)}
        pod = PodOnNode(cri, spec, PLAN.name, common_settings(), api.account, server)
        yield PodwireNode(here, cri, api, network, pod)
    finally:
        if api:
            api.close()
        node.remove_lab(here.host.lab)
