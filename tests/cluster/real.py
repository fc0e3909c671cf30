# SPDX-License-Identifier: Apache-2.0
"""The real API server with its etcd, on the loopback of a namespace. Built when it is missing (see tests/tools)."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from pathlib import Path

import yaml

from tests.cluster.access import Access
from tests.support.namespace import Namespace, wait_until
from tests.support.tools import tool

START_SECONDS = 180.0
STOP_SECONDS = 20.0
ETCD = "http://127.0.0.1:2379"
ACCOUNT = "system:serviceaccount:podwire:podwire"
TOKENS = f'admin-token,admin,1,"system:masters"\npodwire-token,{ACCOUNT},2\n'
MANIFEST = Path(__file__).parents[2] / "deploy" / "podwire.yaml"
ROLE = "/apis/rbac.authorization.k8s.io/v1"


class Real(Access):
    """kube-apiserver with RBAC; the agent is who it is in a cluster, and may do what the manifest's roles allow."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        super().__init__(host, "https://127.0.0.1:6443", "admin-token", folder / "pki" / "apiserver.crt")
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(self.kubeconfig_text("token: podwire-token"))
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        (folder / "tokens.csv").write_text(TOKENS)
        key = ["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"]
        subprocess.run(key, check=True, capture_output=True)

    def _popen(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            argv = self.host.argv(str(tool(name)), *options)
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self) -> None:
        """Start etcd (once) and the API server, and wait until it is ready."""
        if self._etcd is None:
            options = ("--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--unsafe-no-fsync")
            peers = ("--listen-peer-urls", "http://127.0.0.1:2380")
            self._etcd = self._popen("etcd", "--data-dir", str(self.folder / "etcd"), *options, *peers)
        self._server = self._popen(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            "--bind-address=127.0.0.1",
            "--advertise-address=192.168.30.10",
            "--secure-port=6443",
            f"--cert-dir={self.folder / 'pki'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder / 'sa.key'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            "--shutdown-delay-duration=0s",
        )
        if not wait_until(self._ready, START_SECONDS):
            raise RuntimeError(f"the API server is not ready: {self._log()}")
        self._allow()

    def _log(self) -> str:
        return (self.folder / "kube-apiserver.log").read_text(errors="replace")[-3000:]

    def _ready(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            raise RuntimeError(f"the API server ended: {self._log()}")
        try:
            self.request("GET", "/api/v1/namespaces/default")
            self.request("GET", f"{ROLE}/clusterroles/system:node")
        except (OSError, RuntimeError, ssl.SSLError, http.client.HTTPException, json.JSONDecodeError):
            return False
        return True

    def _allow(self) -> None:
        for document in yaml.safe_load_all(MANIFEST.read_text()):
            if not document or not document["apiVersion"].startswith("rbac."):
                continue
            namespace = document["metadata"].get("namespace")
            place = f"{ROLE}/namespaces/{namespace}" if namespace else ROLE
            try:
                self.request("POST", f"{place}/{document['kind'].lower()}s", document)
            except RuntimeError as refused:
                if "409" not in str(refused):
                    raise

    def _stop_server(self) -> None:
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server = None

    def stop(self) -> None:
        """End the API server; etcd goes on until `close`."""
        self._stop_server()

    def close(self) -> None:
        """End both."""
        self._stop_server()
        if self._etcd:
            self._etcd.kill()
            self._etcd.wait(STOP_SECONDS)
            self._etcd = None

    def forget(self) -> None:
        """A server that has started anew knows no older versions: its watch cache begins with what is there now."""
        self._stop_server()
        self.start()
