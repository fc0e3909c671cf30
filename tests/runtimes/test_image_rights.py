# SPDX-License-Identifier: Apache-2.0
"""podwire's image, run as deploy/podwire.yaml says, may do no more than it must: kernel, node and API."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

from podwire.install.files import MARK, STAMP_BYTES
from podwire_lab.command import CommandError
from podwire_lab.podwire_image import CHECKOUT
from tests.runtimes.image import CONFLIST, PLAN, SECRET, SOCKET, PodwireNode, manifest, podwire_node
from tests.runtimes.rbac import allowed_rules, asked
from tests.runtimes.world import containerd_2
from tests.support.namespace import left_after, wait_until

OUTSIDE = {"podCIDR": "10.99.0.0/24", "podCIDRs": ["10.99.0.0/24"]}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodwireNode]:
    """A node with podwire; how the container is confined is the kernel's business, so one containerd shows it."""
    with podwire_node(containerd_2(), tmp_path_factory.mktemp("api")) as made:
        made.install()
        yield made


@pytest.fixture(autouse=True)
def no_pods(node: PodwireNode) -> Iterator[None]:
    """Pods of a test end with it."""
    yield
    node.remove_pods()


def test_the_container_is_confined(node: PodwireNode) -> None:
    inside = node.cri.call("exec", "--sync", node.agent, "cat", "/proc/1/status").output
    status = dict(line.split(":\t") for line in inside.splitlines() if ":\t" in line)
    wanted = {"CAP_DAC_OVERRIDE": 1, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
    mask = sum(1 << number for number in wanted.values())
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == mask
    assert status["Seccomp"].strip() == "2", "filtered"
    for path in ("/anything", "/opt/podwire/bin/podwire", "/proc/sys/net/ipv4/ip_forward"):
        done = node.cri.call("exec", "--sync", node.agent, "sh", "-c", f": >>{path}", check=False)
        assert "Read-only file system" in done.output + done.error, path


@pytest.mark.failure_mode("the CNI binary holds API tokens")
def test_nothing_on_the_node_holds_a_credential(node: PodwireNode) -> None:
    found = node.here.run("grep", "-rlF", SECRET, "/opt/cni", "/etc/cni", "/run/podwire", check=False)
    assert (found.status, found.output, found.error) == (1, "", ""), "1: read everything, found nothing"
    assert node.here.run("stat", "-c", "%a %u %F", SOCKET).output.strip() == "600 0 socket"
    for name in ("podwire", "loopback"):
        binary = node.here.path(f"/opt/cni/bin/{name}").read_bytes()
        stamp = binary[binary.index(MARK) + len(MARK) :][: STAMP_BYTES - len(MARK)]
        assert not stamp.strip(b"\0"), "no command of a container that the node has not"


LOOK_AROUND = """
import os, sys
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/host", "/dev")]
    for path in (os.path.join(folder, name) for name in files):
        unwanted = os.path.basename(path) in ("gcc", "cc", "pip", "pip.conf", "sources.list", ".netrc")
        if unwanted or (os.path.isfile(path) and sys.argv[1].encode() in open(path, "rb").read()):
            print(path)
"""


def test_nothing_of_the_machine_that_built_it_is_in_the_image(node: PodwireNode) -> None:
    python = "/opt/podwire/bin/python"
    done = node.cri.call("exec", "--sync", node.agent, python, "-c", LOOK_AROUND, f"{CHECKOUT}/")
    assert done.output.strip() == ""
    said = node.cri.call("exec", "--sync", node.agent, python, "-c", LOOK_AROUND, "no podwire agent answers")
    assert "/native/podwire" in said.output, "what is there is found"


@pytest.mark.parametrize(
    ("capability", "why"),
    [
        ("NET_ADMIN", "cni plugin not initialized"),  # the agent does not start
        ("SYS_ADMIN", "Operation not permitted"),  # no pod's namespace can be entered
        ("DAC_OVERRIDE", "cni plugin not initialized"),  # the configuration cannot be written
    ],
)
def test_no_capability_can_be_spared(node: PodwireNode, capability: str, why: str) -> None:
    less = copy.deepcopy(node.container("agent"))
    less["securityContext"]["capabilities"]["add"].remove(capability)
    node.stop_agent()
    node.here.run("rm", CONFLIST)
    node.here.run("chown", "1000", "/etc/cni/net.d")
    try:
        node.start_agent(less)
        left_after(lambda: [] if node.here.path(CONFLIST).exists() or not node.agent_runs() else ["neither"], 5)
        with pytest.raises(CommandError) as failed:
            node.cri.run_pod("none")
        assert why in str(failed.value), node.log()
        node.stop_agent()
        node.start_agent()
        node.wait_ready()
        node.cri.run_pod("one")
    finally:
        node.here.run("chown", "0", "/etc/cni/net.d")


def test_the_role_allows_what_the_agent_asks_and_nothing_else(node: PodwireNode) -> None:
    rules = allowed_rules(manifest("podwire.yaml"))
    ranges = list(PLAN.pod_cidrs)
    node.api.patch_node(PLAN.name, {"spec": OUTSIDE})
    try:
        assert wait_until(lambda: bool(node.api.events("PodCIDROutsideCluster"))), node.log()
        node.stop_agent()
        node.start_agent()  # it finds its Event there, and patches it
        wanted = {(rule.verb, rule.resource, rule.namespace) for rule in rules}
        assert wait_until(lambda: {asked(entry) for entry in node.api.of_agent()} >= wanted), node.api.of_agent()
    finally:
        node.api.patch_node(PLAN.name, {"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}})
    requests = node.api.of_agent()
    assert requests
    for request in requests:
        assert any(rule.allows(*asked(request)) for rule in rules), request
