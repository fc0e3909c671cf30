# SPDX-License-Identifier: Apache-2.0
"""The whole thing: kubeadm init and join, podwire's manifest, pods, Services, and what happens to clusters."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import pytest

from podwire_lab.kubernetes import tunables
from tests.cluster.lab import MANIFEST, Cluster, pod
from tests.runtimes import traces

pytestmark = pytest.mark.timeout(1500)
LOG = logging.getLogger(__name__)
"""Figures for whoever reads along: `make e2e` shows them."""

PODS = ("bash-worker-1", "bash-worker-2", "nginx-worker-1", "nginx-worker-2")
NODES = ("master", "worker-1", "worker-2")
API_SERVER = "/etc/kubernetes/manifests/kube-apiserver.yaml"
API_SERVER_AWAY_SECONDS = 60
RECREATED, AT_ONCE = 200, 20


def eventually(true: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not (so := true()) and time.monotonic() < until:
        time.sleep(0.2)
    assert so, f"{what}: not within {seconds:g} s"


@pytest.fixture(scope="module", params=["v4", "dual"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cluster(family: str) -> Iterator[Cluster]:
    """Up as kubeadm leaves it: without a network. PODWIRE_TEST_CLUSTER names one to work on that is up, and stays."""
    if name := os.environ.get("PODWIRE_TEST_CLUSTER"):
        yield Cluster(name)
        return
    made = Cluster(f"e2e-{family}", "--family", family, "--no-network")
    made.down()
    with odd_settings():
        before = traces.of_machine()
        try:
            LOG.info("%s", made.up())
            yield made
        finally:
            made.down()
        eventually(lambda: traces.of_machine() == before, "the machine is as it was", 30)


@contextmanager
def odd_settings() -> Iterator[None]:
    """The machine's own settings that kubelets change on theirs: they stay as odd as they are."""
    usual = {key: int(Path("/proc/sys", key).read_text()) for key in tunables.WANTED}
    odd = {"kernel/panic": 77, "kernel/keys/root_maxkeys": 1_000_077}
    try:
        for key, value in odd.items():
            Path("/proc/sys", key).write_text(f"{value}\n")
        yield
        assert {key: int(Path("/proc/sys", key).read_text()) for key in usual} == {**usual, **odd}
    finally:
        for key in odd:
            Path("/proc/sys", key).write_text(f"{usual[key]}\n")


def test_it_begins_without_a_network(cluster: Cluster) -> None:
    assert cluster.nodes() == dict.fromkeys(NODES, False)


def test_one_file_makes_the_nodes_ready(cluster: Cluster, family: str) -> None:
    manifest = MANIFEST.read_text()
    if family == "dual":
        manifest = manifest.replace(
            'cluster_cidrs = ["10.244.0.0/16"]', 'cluster_cidrs = ["10.244.0.0/16", "fd00:10:244::/48"]'
        )
        assert "fd00" in manifest
    begun = time.monotonic()
    cluster.kubectl("apply", "--filename", "-", stdin=manifest)
    cluster.wait("nodes", "--all")
    LOG.info("all nodes Ready %.1f s after kubectl apply", time.monotonic() - begun)
    conditions = [each for item in cluster.get("nodes")["items"] for each in item["status"]["conditions"]]
    told = {each["reason"] for each in conditions if each["type"] == "NetworkUnavailable"}
    assert told == {"PodwireIsUp"}


def test_the_four_pods_run_and_reach_everyone(cluster: Cluster, family: str) -> None:
    cluster.apply(*(pod(name, name.partition("-")[2], name.partition("-")[0]) for name in PODS))
    cluster.wait("pods", "--all")
    cluster.wait("pods", "--all", "--namespace", "kube-system")
    ranges = {item["metadata"]["name"]: item["spec"]["podCIDRs"] for item in cluster.get("nodes")["items"]}
    for name in PODS:
        told = cluster.get("pod", name)
        addresses = [each["ip"] for each in told["status"]["podIPs"]]
        assert len(addresses) == (2 if family == "dual" else 1)
        for address in addresses:
            assert any(_in(address, each) for each in ranges[told["spec"]["nodeName"]])
    LOG.info("%s", cluster.podwire("check").stdout)


def _in(address: str, prefix: str) -> bool:
    network = ip_network(prefix)
    return (":" in address) == (network.version == 6) and ip_network(address).subnet_of(network)  # type: ignore[arg-type]


def test_a_service_and_its_name(cluster: Cluster, family: str) -> None:
    """kube-proxy spreads calls over both web servers, CoreDNS knows the Service's name."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}], "ipFamilyPolicy": "PreferDualStack"},
    }
    cluster.kubectl("label", "pods", "nginx-worker-1", "nginx-worker-2", "service=web", "--overwrite")
    service["spec"]["selector"] = {"service": "web"}  # type: ignore[index]
    cluster.apply(service)
    for caller in ("bash-worker-1", "bash-worker-2"):
        answers: set[str] = set()

        def both(caller: str = caller, answers: set[str] = answers) -> bool:
            said = cluster.run(caller, "curl", "-s", "-m", "2", "http://web.default.svc.cluster.local/", check=False)
            answers.add(" ".join(re.findall(r"nginx-worker-\d", said)[:1]))
            return {"nginx-worker-1", "nginx-worker-2"} <= answers

        eventually(both, f"{caller} is answered by both web servers")
    addresses = cluster.get("service", "web")["spec"]["clusterIPs"]
    assert len(addresses) == (2 if family == "dual" else 1)
    for address in addresses:
        shown = f"[{address}]" if ":" in address else address
        assert "nginx-worker" in cluster.run("bash-worker-1", "curl", "-s", "-m", "5", f"http://{shown}/")


def test_a_host_port(cluster: Cluster, family: str) -> None:
    """From outside, from another node, and from the node itself; gone with its pod."""
    cluster.apply(pod("with-port", "worker-1", "nginx", ports=[{"containerPort": 80, "hostPort": 8088}]))
    cluster.wait("pod/with-port")
    told = next(item for item in cluster.get("nodes")["items"] if item["metadata"]["name"] == "worker-1")
    addresses = [each["address"] for each in told["status"]["addresses"] if each["type"] == "InternalIP"]
    assert len(addresses) == (2 if family == "dual" else 1)
    for address in addresses:
        url = f"http://[{address}]:8088/" if ":" in address else f"http://{address}:8088/"
        for caller in ("internet", "master", "worker-1", "bash-worker-2", "with-port"):
            answer = cluster.run(caller, "curl" if caller != "with-port" else "wget", *_get(caller, url))
            assert "nginx in pod with-port" in answer, (caller, url)
    cluster.kubectl("delete", "pod", "with-port", "--now")
    assert "8088" not in cluster.run("worker-1", "nft", "list", "ruleset")


def _get(caller: str, url: str) -> list[str]:
    """nginx' image has no curl, but busybox' wget."""
    return ["-q", "-O", "-", url] if caller == "with-port" else ["-s", "-m", "5", url]


@pytest.mark.parametrize("family", ["dual"], indirect=True, scope="module")
class TestWhatHappensToClusters:
    """One cluster, one mishap after the other; each leaves it as it was."""

    def test_agents_are_rolled_while_pods_ping_each_other(self, cluster: Cluster) -> None:
        address = cluster.get("pod", "nginx-worker-2")["status"]["podIP"]
        argv = cluster.argv("bash-worker-1", "ping", "-i", "0.01", "-w", "300", address)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as pinging:
            time.sleep(1)
            before = {item["metadata"]["name"] for item in self._agents(cluster)}
            cluster.kubectl("rollout", "restart", "daemonset/podwire", "--namespace", "podwire")
            cluster.kubectl("rollout", "status", "daemonset/podwire", "--namespace", "podwire", "--timeout", "180s")
            after = {item["metadata"]["name"] for item in self._agents(cluster)}
            time.sleep(1)
            cluster.run("bash-worker-1", "killall", "-INT", "ping")
            said = pinging.communicate(timeout=30)[0]
        assert before.isdisjoint(after)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", said)
        assert found, said[-500:]
        LOG.info("%s", found.group(0))
        assert int(found.group(1)) > 500
        assert found.group(1) == found.group(2)

    @staticmethod
    def _agents(cluster: Cluster) -> list[dict[str, dict[str, str]]]:
        found: list[dict[str, dict[str, str]]] = cluster.get("pods", "--namespace", "podwire")["items"]
        return [item for item in found if "deletionTimestamp" not in item["metadata"]]

    def test_pods_are_recreated_two_hundred_times(self, cluster: Cluster) -> None:
        before = cluster.traces("worker-1")
        seen: set[str] = set()
        for _ in range(RECREATED // AT_ONCE):
            names = [f"again-{number}" for number in range(AT_ONCE)]
            cluster.apply(*(pod(name, "worker-1") for name in names))
            cluster.wait("pods", *names)
            addresses = [cluster.get("pod", name)["status"]["podIP"] for name in names[:2]]
            assert not seen & set(addresses), "an address is leased again only after all others of its range"
            seen.update(addresses)
            cluster.kubectl("delete", "pods", *names, "--now")
        assert len(seen) == 2 * (RECREATED // AT_ONCE)
        eventually(lambda: cluster.traces("worker-1") == before, "nothing of 200 pods is left on worker-1")

    def test_a_node_is_removed_and_added(self, cluster: Cluster) -> None:
        cluster.kubectl("drain", "worker-2", "--ignore-daemonsets", "--force", "--delete-emptydir-data")
        cluster.run("worker-2", "kubeadm", "reset", "--force", check=False)
        cluster.run("worker-2", "busybox", "killall", "kubelet")  # systemd is who does this elsewhere
        cluster.run("worker-2", "rm", "/etc/cni/net.d/10-podwire.conflist")  # kubeadm reset says that it is to be done
        cluster.kubectl("delete", "node", "worker-2")
        mine = ("--all-namespaces", "--field-selector", "spec.nodeName=worker-2", "--force", "--grace-period=0")
        cluster.kubectl("delete", "pods", *mine)  # as the garbage collector does after a minute
        cluster.run("worker-2", "nft", "flush", "ruleset")  # as kubeadm reset asks for, too
        routes = ("ip", "-4", "-json", "route", "show", "proto", "112")
        gone = {row["dst"] for row in json.loads(cluster.run("master", *routes)) if "gateway" in row}
        assert len(gone) == 1  # worker-1's range alone
        said = cluster.run("master", "kubeadm", "token", "create", "--print-join-command").split()
        cluster.run("worker-2", *said, "--ignore-preflight-errors", "all", "--node-name", "worker-2")
        cluster.wait("node/worker-2")
        for name in ("bash-worker-2", "nginx-worker-2"):
            cluster.apply(pod(name, "worker-2", name.partition("-")[0]))
        cluster.wait("pods", "--all")
        cluster.wait("pods", "--all", "--namespace", "kube-system")
        cluster.podwire("check")

    def test_the_api_server_is_away_for_a_minute(self, cluster: Cluster) -> None:
        """New pods start meanwhile, old ones go on; what it says afterwards is heard."""
        other = cluster.get("pod", "nginx-worker-1")["status"]["podIP"]
        cluster.run("master", "mv", API_SERVER, "/etc/kubernetes/")
        try:
            eventually(lambda: "refused" in cluster.podwire("kubectl", "version", check=False).stderr, "no API server")
            begun = time.monotonic()
            static = pod("static", "worker-2")
            cluster.run("worker-2", "tee", "/etc/kubernetes/manifests/static.yaml", stdin=json.dumps(static))
            eventually(
                lambda: cluster.podwire("exec", "static-worker-2", "--", "true", check=False).returncode == 0,
                "a pod starts without the API server",
            )
            while time.monotonic() - begun < API_SERVER_AWAY_SECONDS:
                cluster.run("static-worker-2", "ping", "-c", "3", "-W", "1", other)
                time.sleep(3)
        finally:
            cluster.run("master", "mv", "/etc/kubernetes/kube-apiserver.yaml", API_SERVER)
        eventually(lambda: cluster.podwire("kubectl", "get", "nodes", check=False).returncode == 0, "it is back")
        cluster.wait("nodes", "--all")
        eventually(lambda: "static-worker-2" in cluster.kubectl("get", "pods", check=False), "the pod is known")
        cluster.run("worker-2", "rm", "/etc/kubernetes/manifests/static.yaml")
        cluster.wait("pod/static-worker-2", condition="delete")
        cluster.wait("pods", "--all")
        cluster.podwire("check")

    def test_the_manifest_is_deleted(self, cluster: Cluster) -> None:
        """Pods go on; the node's files stay until `podwire uninstall`."""
        cluster.kubectl("delete", "--filename", str(MANIFEST))
        names = [item["metadata"]["name"] for item in cluster.get("namespaces")["items"]]
        assert "kube-system" in names and "podwire" not in names
        cluster.podwire("check")
        for node in NODES:
            assert "podwire" in cluster.run(node, "ls", "/opt/cni/bin").split()

    @pytest.mark.failure_mode("uninstall leaves things")
    def test_uninstall_leaves_nothing_on_any_node(self, cluster: Cluster) -> None:
        """deploy/uninstall.yaml; then the network can be installed again, and pods that were left without one go."""
        removal = ("--filename", str(MANIFEST.with_name("uninstall.yaml")))
        cluster.kubectl("apply", *removal)
        done = ("daemonset/podwire-uninstall", "--namespace", "podwire", "--timeout", "180s")
        cluster.kubectl("rollout", "status", *done)
        for node in NODES:
            files = cluster.run(node, "ls", "/opt/cni/bin", "/etc/cni/net.d", "/run/podwire").split()
            assert set(files) <= {"/etc/cni/net.d:", "/opt/cni/bin:", "/run/podwire:"}
            assert not [link for link in cluster.traces(node)["links"] if link.startswith(("pw", "pi", "podwire"))]
            assert "podwire" not in cluster.run(node, "nft", "list", "ruleset")
            assert not cluster.run(node, "ip", "route", "show", "proto", "112")
        cluster.kubectl("delete", *removal)
        cluster.kubectl("delete", "pods", "--all", "--wait=false")
        cluster.kubectl("apply", "--filename", str(MANIFEST))
        cluster.wait("nodes", "--all")
        eventually(lambda: not cluster.get("pods")["items"], "the pods of before are gone")
