# SPDX-License-Identifier: Apache-2.0
"""podwire's image in a real containerd, started as deploy/podwire.yaml says: it serves pods, and may do no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest

from podwire_lab.command import CommandError
from podwire_lab.cri import Pod
from tests.runtimes.image import CONFLIST, PLAN, PodwireNode, manifest, of_kind, podwire_node
from tests.runtimes.kubelet import PodOnNode
from tests.runtimes.world import CONTAINERDS
from tests.support.namespace import wait_until

FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
NO_AGENT = "no podwire agent answers on this node"
NODE_PORT = 8080


@pytest.fixture(scope="module", params=CONTAINERDS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodwireNode]:
    """A node with the plugin installed by the init container, and the agent running."""
    with podwire_node(CONTAINERDS[request.param](), tmp_path_factory.mktemp("api")) as made:
        for setting in FORWARDING:
            made.sysctl(setting, "0")
        made.install()
        yield made


@pytest.fixture(autouse=True)
def no_pods(node: PodwireNode) -> Iterator[None]:
    """Pods of a test end with it."""
    yield
    node.remove_pods()


def reaches(node: PodwireNode, pod: Pod, *addresses: str) -> bool:
    return all(node.cri.exec(pod, "ping", "-c", "1", "-W", "10", address).ok for address in addresses)


def is_well(node: PodwireNode, url: str) -> bool:
    return node.here.run("curl", "--silent", "--fail", url, check=False).output == "ok\n"


def veths(node: PodwireNode) -> list[str]:
    return [name for name, row in node.network.links().items() if name.startswith("pw") and "link_netnsid" in row]


def test_pods_are_served(node: PodwireNode) -> None:
    one, two = node.cri.run_pod("one"), node.cri.run_pod("two")
    assert len(one.addresses) == len(two.addresses) == 2
    assert reaches(node, one, *two.addresses, *PLAN.addresses)
    assert [node.sysctl(setting) for setting in FORWARDING] == ["1", "1"], node.log()


def test_a_host_port_leads_to_its_pod_by_localhost_too(node: PodwireNode) -> None:
    ports = [{"protocol": 0, "container_port": 80, "host_port": NODE_PORT}]
    node.cri.run_pod("web", "localhost/podwire-lab/nginx:latest", ports=ports)
    answer = node.here.run("curl", "--silent", "--max-time", "10", f"http://127.0.0.1:{NODE_PORT}/")
    assert "nginx in pod web" in answer.output


def test_the_probes_are_answered_on_the_loopback_alone(node: PodwireNode) -> None:
    container = node.container("agent")
    for probe in ("livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        assert get["host"] == "127.0.0.1"
        url = f"http://{get['host']}:{get['port']}{get['path']}"
        assert wait_until(partial(is_well, node, url)), node.log()
    port = container["livenessProbe"]["httpGet"]["port"]
    elsewhere = node.here.run("curl", "-sS", "-m", "5", f"http://{PLAN.addresses[0]}:{port}/healthz", check=False)
    assert elsewhere.status == 7 and "onnect" in elsewhere.error, elsewhere


@pytest.mark.failure_mode("DEL fails while the agent is down")
def test_while_the_agent_is_away_pods_go_but_none_come(node: PodwireNode) -> None:
    staying, leaving = node.cri.run_pod("staying"), node.cri.run_pod("leaving")
    node.stop_agent()
    try:
        assert node.here.path(CONFLIST).exists(), "it stays: without it no pod could be removed"
        assert reaches(node, staying, *leaving.addresses)
        before = len(veths(node))
        node.cri.stop(leaving.sandbox)
        node.cri.remove(leaving.sandbox)
        assert wait_until(lambda: len(veths(node)) == before - 1), "the plugin removes it by itself"
        with pytest.raises(CommandError, match=NO_AGENT):
            node.cri.run_pod("coming")
    finally:
        node.start_agent()
    node.cri.run_pod("coming-now")
    assert reaches(node, staying, *PLAN.addresses)


def test_a_changed_config_map_is_followed(node: PodwireNode) -> None:
    def exceptions() -> object:
        return json.loads(node.here.path(CONFLIST).read_text())["plugins"][0].get("nonMasqueradeCIDRs")

    before = node.pod.config_maps["podwire"]
    changed = before["podwire.toml"].replace("masquerade_exceptions = []", 'masquerade_exceptions = ["172.20.0.0/16"]')
    try:
        node.pod.update_config("config", {"podwire.toml": changed})
        assert wait_until(lambda: exceptions() == ["172.20.0.0/16"]), node.log()
    finally:
        node.pod.update_config("config", before)
    assert wait_until(lambda: exceptions() is None), node.log()


def test_check_sees_pods_from_a_debug_container(node: PodwireNode) -> None:
    """`kubectl debug node/… --profile=sysadmin -- podwire check`: the image, privileged, with the node's processes."""
    node.cri.run_pod("one")
    node.cri.run_pod("two")
    security = {"privileged": True, "namespace_options": {"network": 2, "pid": 2, "ipc": 2}}
    image = node.container("agent")["image"]
    config = {"metadata": {"name": "debug"}, "image": {"image": image}, "command": ["podwire", "check"]}
    config |= {"log_path": "debug.log", "linux": {"security_context": security}}
    debug = PodOnNode(node.cri, {"hostNetwork": True, "volumes": []}, PLAN.name, name="debug", security=security)
    debug.prepare()
    assert debug.wait(debug.make(config)) == 0, debug.log("debug")
    assert "default/one" in debug.log("debug")


@pytest.mark.failure_mode("uninstall leaves things")
def test_uninstall_leaves_nothing(node: PodwireNode) -> None:
    """The DaemonSet of deploy/uninstall.yaml, while the agent lives and after; then podwire can be installed again."""
    spec = of_kind(manifest("uninstall.yaml"), "DaemonSet")["spec"]["template"]["spec"]
    remover = PodOnNode(node.cri, spec, PLAN.name, name="podwire-uninstall")
    node.cri.run_pod("one")
    remover.prepare()
    (uninstall,), (done,) = spec["initContainers"], spec["containers"]
    assert remover.run(uninstall) == 1
    assert "an agent serves /run/podwire/agent.sock already: stop it" in remover.log("uninstall")
    assert veths(node) and node.here.path(CONFLIST).exists()
    node.stop_agent()
    try:
        assert remover.run(uninstall) == 0, remover.log("uninstall")
        assert "nothing of podwire is left in the kernel" in remover.log("uninstall")
        assert not [name for name in node.network.links() if name.startswith(("pw", "pi", "podwire"))]
        assert [node.files_in(folder) for folder in ("/opt/cni/bin", "/etc/cni/net.d", "/run/podwire")] == [[]] * 3
        assert "podwire" not in node.here.run("nft", "list", "ruleset").output
        waiting = remover.start(done)
        assert remover.state(waiting)["state"] == "CONTAINER_RUNNING"
        remover.stop(waiting)
        remover.remove()
    finally:
        node.install()
    node.cri.run_pod("two")
