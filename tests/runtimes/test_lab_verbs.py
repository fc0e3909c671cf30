# SPDX-License-Identifier: Apache-2.0
"""`podwire lab status`, `exec` and `check` on a running lab."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from podwire_lab import node
from tests.runtimes.command import LAB, PODWIRE, in_lab, lab, refused, status
from tests.support.namespace import wait_until


@pytest.fixture(scope="module", autouse=True)
def running_lab() -> Iterator[None]:
    """A lab for all tests of this file: routed, so that a tunnel is used."""
    try:
        built = lab("up", "--topology", "routed")
        assert built.returncode == 0, built.stderr
        yield
    finally:
        node.remove_lab(LAB)


def test_status_shows_what_runs() -> None:
    found = status()
    assert [each["name"] for each in found["nodes"]] == ["master", "worker-1", "worker-2"]
    for each in found["nodes"]:
        assert each["services"] and all(each["services"].values()), each
    assert set(found["others"]) == {"router", "internet"}
    pods = [pod for each in found["nodes"] for pod in each["pods"]]
    assert len(pods) == 4
    for pod in pods:
        inside = in_lab(pod["name"], "ip", "-brief", "address", "show", "eth0")
        assert pod["state"] == "running"
        assert len(pod["addresses"]) == 2
        if pod["name"].startswith("bash"):
            assert all(f" {address}/" in inside.stdout for address in pod["addresses"])
    words = lab("status").stdout
    assert "bash-worker-2" in words
    assert subprocess.run([PODWIRE, "lab"], capture_output=True, text=True, check=False).stdout.count(LAB) == 1


def test_exec_runs_a_command_and_returns_its_status() -> None:
    for where, name in (("worker-1", "worker-1"), ("bash-worker-1", "bash-worker-1")):
        assert in_lab(where, "hostname").stdout.strip() == name
        assert in_lab(where, "sh", "-c", "exit 7").returncode == 7
    assert "203.0.113.1" in in_lab("internet", "ip", "-brief", "address").stdout
    assert "segment-1" in in_lab("router", "ip", "-brief", "link").stdout
    argv = [PODWIRE, "lab", "exec", "--name", LAB, "bash-worker-1"]
    shell = subprocess.run(argv, input="echo I am $(hostname)\nexit 3\n", capture_output=True, text=True, check=False)
    assert (shell.stdout.strip(), shell.returncode) == ("I am bash-worker-1", 3), shell


def test_nginx_answers_from_the_other_node_with_the_callers_own_address() -> None:
    pods = {pod["name"]: pod for each in status()["nodes"] for pod in each["pods"]}
    caller, server = pods["bash-worker-1"], pods["nginx-worker-2"]
    assert len(caller["addresses"]) == 2
    for own, address in zip(caller["addresses"], server["addresses"], strict=True):
        url = f"http://[{address}]" if ":" in address else f"http://{address}"
        answer = in_lab("bash-worker-1", "curl", "--silent", "--max-time", "10", url)
        assert answer.stdout == f"nginx in pod nginx-worker-2, asked by {own}\n", answer


def test_pods_know_the_hosts_names() -> None:
    for host in ("master", "worker-1", "worker-2", "internet"):
        assert in_lab("bash-worker-1", "ping", "-c", "1", "-W", "10", host).returncode == 0


def test_the_internet_has_no_route_to_pods() -> None:
    (address, _) = next(pod["addresses"] for pod in status()["nodes"][1]["pods"])
    for host in ("internet", "router"):
        routes = json.loads(in_lab(host, "ip", "-json", "route").stdout)
        assert not [row["dst"] for row in routes if row["dst"] == "default" or row["dst"].startswith("10.244.")]
    called = in_lab("internet", "ping", "-c", "1", "-W", "1", address)
    assert called.returncode != 0 and "nreachable" in called.stdout + called.stderr, called


def test_check_fails_with_a_fault() -> None:
    in_lab("worker-2", "nft", "add table ip t; add chain ip t c { type filter hook forward priority 0; policy drop; }")
    try:
        in_lab("worker-2", "sysctl", "-qw", "net.ipv4.ip_forward=0")
        in_lab("worker-2", "ip", "route", "add", "blackhole", "10.244.1.0/25")
        done = lab("check")
        assert done.returncode == 1
        assert "✗" in done.stdout
    finally:
        in_lab("worker-2", "ip", "route", "del", "blackhole", "10.244.1.0/25")
        in_lab("worker-2", "nft", "delete table ip t")
    assert wait_until(lambda: lab("check").returncode == 0), lab("check").stdout


def test_check_reports_a_pod_that_ended() -> None:
    (pod,) = [pod for each in status()["nodes"] for pod in each["pods"] if pod["name"] == "bash-worker-2"]
    in_lab("worker-2", "crictl", "stop", "--timeout", "1", pod["container"])
    done = lab("check")
    assert done.returncode == 1
    assert "bash-worker-2: exited" in done.stderr
    node.remove_lab(LAB)
    assert lab("up", "--topology", "routed").returncode == 0


def test_a_lab_that_exists_is_not_built_again() -> None:
    assert "down" in refused(lab("up"))
    assert refused(lab("run"))
    assert len(status()["nodes"]) == 3, "it still runs"


def test_an_unknown_host_is_reported_with_the_known_hosts() -> None:
    words = refused(in_lab("worker-9", "true"))
    assert "worker-9" in words
    assert "worker-2" in words
