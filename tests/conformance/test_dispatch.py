# SPDX-License-Identifier: Apache-2.0
"""Lines 1 to 10: the command, the variables of the environment, CNI_ARGS."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from tests.conformance.node import Node, encoded, strange_link
from tests.conformance.rules import VERSIONS, crash_complaints
from tests.support.namespace import wait_until
from tests.support.plugin import SEARCH_PATH

NEEDED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
}
SUBSETS = [
    (command, missing)
    for command, needed in NEEDED.items()
    for size in range(1, len(needed) + 1)
    for missing in itertools.combinations(needed, size)
]
BAD_CONTAINERS = ["-a", ".a", "_a", "a b", "a/b", "a\n", "ä", "a:b", "../a", "a\tb", "٣"]
BAD_NETWORKS = ["-a", ".a", "_a", "a b", "a/b", "a\n", "ä", "../a"]
BAD_IFNAMES = [
    "e" * 16,
    "é" * 8,
    ".",
    "..",
    "eth0/1",
    "eth:0",
    "eth 0",
    "eth\t0",
    "eth0\n",
    "eth\u00a00",
    "e\u20030",
    "e\u0085",
]
K8S_ARGS = [
    "IgnoreUnknown=1",
    "K8S_POD_NAMESPACE=ns",
    "K8S_POD_NAME=web-0",
    "K8S_POD_INFRA_CONTAINER_ID=abc",
    "K8S_POD_UID=0e3f",
]


@pytest.mark.line(1)
def test_about_text_without_a_command(node: Node) -> None:
    """Line 1: no CNI_COMMAND: about text with the versions on stderr, empty stdout, exit 0."""
    for variables in ({}, {"CNI_COMMAND": ""}):
        outcome = node.plugin.run(variables)
        assert outcome.ok, outcome
        assert outcome.stdout == b"", outcome
        assert all(version.encode() in outcome.stderr for version in VERSIONS), outcome


@pytest.mark.line(1)
def test_about_text_does_not_wait_for_input(node: Node) -> None:
    """Line 1: a person who starts the binary at a terminal is answered though nothing is typed."""
    readable, writable = os.pipe()
    try:
        done = subprocess.run(
            node.host.argv(str(node.plugin.binary)),
            stdin=readable,
            capture_output=True,
            env={"PATH": SEARCH_PATH, **node.plugin.environment},
            check=False,
            timeout=60,
        )
    finally:
        os.close(readable)
        os.close(writable)
    assert done.returncode == 0
    assert VERSIONS[-1].encode() in done.stderr


@pytest.mark.cells("text")
@pytest.mark.line(2)
@pytest.mark.parametrize("command", ["FOO", "add", "Add", "ADD ", " ADD", "ADD\n", "VERSIONS", "ÄDD"])
def test_unknown_command(node: Node, command: str) -> None:
    """Line 2: an unknown command is code 4; commands are upper case."""
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.call(command, node.config(), "c1", pod.path, ifname="eth0"), 4)


@pytest.mark.cells("text")
@pytest.mark.line(3, 4)
@pytest.mark.parametrize(
    ("command", "missing"),
    SUBSETS,
    ids=lambda each: each if isinstance(each, str) else "+".join(name.removeprefix("CNI_") for name in each),
)
def test_missing_variables(node: Node, command: str, missing: tuple[str, ...]) -> None:
    """Lines 3 and 4: one code-4 error that names every missing variable; an empty one is missing too."""
    pod = node.pod()
    whole = node.plugin.variables(command, "c1", pod.path, "eth0")
    unset = {key: value for key, value in whole.items() if key not in missing}
    with node.unchanged(pod):
        for variables in (unset, {**whole, **dict.fromkeys(missing, "")}):
            outcome = node.plugin.run(variables, encoded(node.config()))
            message = node.refused(outcome, 4)
            assert all(name in message for name in missing), message


@pytest.mark.line(4, 21, 23)
def test_del_needs_no_netns(node: Node) -> None:
    """Line 4: DEL needs CONTAINERID and IFNAME only; CNI_NETNS may be unset altogether."""
    variables = node.plugin.variables("DEL", "c1", "", "eth0")
    del variables["CNI_NETNS"]
    node.silent(node.plugin.run(variables, encoded(node.config())))


@pytest.mark.line(4)
@pytest.mark.podwire_decision
def test_path_is_not_needed_without_delegation(node: Node) -> None:
    """Line 4: CNI_PATH is asked for only where an IPAM plugin is called."""
    pod = node.pod()
    for command in ("ADD", "DEL"):
        variables = node.plugin.variables(command, "c1", pod.path, "eth0")
        del variables["CNI_PATH"]
        outcome = node.plugin.run(variables, encoded(node.config()))
        assert outcome.ok, outcome


@pytest.mark.line(4, 35)
@pytest.mark.podwire_decision
def test_path_is_needed_for_delegation(node: Node) -> None:
    """Line 4: with an `ipam` plugin to call, a missing CNI_PATH is code 4 and is named."""
    pod = node.pod()
    variables = node.plugin.variables("ADD", "c1", pod.path, "eth0")
    del variables["CNI_PATH"]
    with node.unchanged(pod):
        outcome = node.plugin.run(variables, encoded(node.config(ipam={"type": "host-local"})))
        assert "CNI_PATH" in node.refused(outcome, 4)


@pytest.mark.cells("text")
@pytest.mark.line(5, "trap 2")
@pytest.mark.parametrize("container", BAD_CONTAINERS, ids=ascii)
def test_bad_container_id(node: Node, container: str) -> None:
    """Line 5: a container ID outside its pattern is code 4, also where only a newline follows."""
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(node.config(), container, pod.path), 4)
        node.refused(node.plugin.cni_del(node.config(), container, pod.path), 4)


@pytest.mark.cells("text")
@pytest.mark.line(5)
@pytest.mark.parametrize("container", ["0", "a", "A_b.c-d", "f" * 64, "x" * 300, "y" * 4000], ids=len)
def test_good_container_id(node: Node, container: str) -> None:
    """Line 5: a container ID has no length limit; ADD, CHECK and DEL find the same attachment by it."""
    attachment = node.added(container=container)
    twin = node.added(container=container[:-1] + "z")
    node.silent(node.check(attachment))
    node.silent(node.delete(attachment))
    node.silent(node.check(twin))


@pytest.mark.cells("text")
@pytest.mark.line(5, 11, "trap 2")
@pytest.mark.parametrize("name", BAD_NETWORKS, ids=ascii)
def test_bad_network_name(node: Node, name: str) -> None:
    """Line 5: a network name outside the pattern is code 7."""
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(node.config(name=name), "c1", pod.path), 7)


@pytest.mark.cells("text")
@pytest.mark.line(6, "trap 2")
@pytest.mark.parametrize("ifname", BAD_IFNAMES, ids=ascii)
def test_bad_ifname(node: Node, ifname: str) -> None:
    """Line 6: at most 15 bytes, not `.` or `..`, no `/`, `:` or Unicode white space: else code 4."""
    pod = node.pod()
    with node.unchanged(pod):
        node.refused(node.plugin.cni_add(node.config(), "c1", pod.path, ifname), 4)
        node.refused(node.plugin.cni_del(node.config(), "c1", pod.path, ifname), 4)


@pytest.mark.cells("text")
@pytest.mark.line(6)
@pytest.mark.parametrize("ifname", ["e", "e" * 15, "ünet0", "net-1_a.b", "é" * 7], ids=ascii)
def test_good_ifname(node: Node, ifname: str) -> None:
    """Line 6: whatever the kernel takes as a name of up to 15 bytes works."""
    attachment = node.added(ifname=ifname)
    assert attachment.inside["name"] == ifname
    assert ifname in attachment.pod.links()
    node.silent(node.delete(attachment))


@pytest.mark.line(6)
@pytest.mark.podwire_decision
def test_ifname_that_the_kernel_takes_for_a_template(node: Node) -> None:
    """Line 6: the kernel would number `eth%d`; the interface must get the very name asked for, or none."""
    pod = node.pod()
    outcome = node.plugin.cni_add(node.config(), "c1", pod.path, "eth%d")
    if outcome.ok:
        assert "eth%d" in pod.links()
    else:
        node.refused(outcome, 4)
        assert set(pod.links()) == {"lo"}


@pytest.mark.line(7)
def test_version_with_dummies(node: Node) -> None:
    """Line 7: VERSION comes with `dummy` in the other variables."""
    dummies = dict.fromkeys(("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"), "dummy")
    assert "1.0.0" in node.plugin.cni_version(b"{}", **dummies).document["supportedVersions"]


@pytest.mark.line(7)
def test_gc_and_status_with_empty_variables(node: Node) -> None:
    """Line 7: GC and STATUS come with empty CONTAINERID, NETNS and IFNAME."""
    node.silent(node.plugin.cni_status(node.config()))
    node.silent(node.plugin.cni_gc(node.config(**{"cni.dev/valid-attachments": []})))


@pytest.mark.line(8)
@pytest.mark.parametrize("override", ["", "0", "yes"])
def test_own_namespace_is_refused(node: Node, override: str) -> None:
    """Line 8: a CNI_NETNS that is the plugin's own is code 8, before anything is done."""
    with node.unchanged():
        outcome = node.plugin.cni_add(node.config(), "c1", node.host.path, CNI_NETNS_OVERRIDE=override)
        node.refused(outcome, 8)


@pytest.mark.cells("text")
@pytest.mark.line(8)
@pytest.mark.parametrize("override", ["1", "true", "TRUE"])
def test_own_namespace_with_override(node: Node, override: str) -> None:
    """Line 8: CNI_NETNS_OVERRIDE lifts that refusal."""
    outcome = node.plugin.cni_add(node.config(), "c1", node.host.path, "pod0", CNI_NETNS_OVERRIDE=override)
    assert outcome.code != 8, outcome
    assert not crash_complaints(outcome), outcome


@pytest.mark.line(8)
def test_del_in_own_namespace_keeps_the_hosts_interface(node: Node) -> None:
    """Line 8: a DEL that names the host's own namespace must not cost the node its eth0."""
    strange_link(node.host, "eth0")
    with node.unchanged():
        assert not crash_complaints(node.plugin.cni_del(node.config(), "c1", node.host.path))


@pytest.mark.line(8, 30)
@pytest.mark.parametrize("kind", ["gone", "file"])
def test_add_without_a_namespace(node: Node, kind: str) -> None:
    """Line 8: ADD into a path that is no namespace is an error; nothing is left on the host."""
    path = node.folder / "netns"
    if kind == "file":
        path.touch()
    with node.unchanged():
        message = node.refused(node.plugin.cni_add(node.config(), "c1", path))
        assert str(path) in message


@pytest.mark.cells("text")
@pytest.mark.line(9, "containerd")
@pytest.mark.parametrize("order", range(0, 120, 17))
def test_containerds_arguments_in_any_order(node: Node, order: int) -> None:
    """Line 9: containerd sends its K8S_ arguments in random order."""
    arguments = list(itertools.permutations(K8S_ARGS))[order]
    node.added(args=";".join(arguments))


@pytest.mark.line(9, "multus")
def test_multus_sends_arguments_twice(node: Node) -> None:
    """Line 9: Multus sends every argument twice."""
    node.added(args=";".join(K8S_ARGS + K8S_ARGS))


@pytest.mark.cells("text")
@pytest.mark.line(9)
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    "text", ["A=b;IP={};", "A=b=c=d;IP={}", "IP={};Unknown=1;K8S_POD_NAME=a", "IP=192.0.2.1;IP={}", "IP={};IP={}"]
)
def test_arguments(node: Node, text: str) -> None:
    """Line 9: split at the first `=`; unknown keys ignored; last duplicate wins; trailing `;` is fine."""
    wanted = node.subject.addresses(77)
    attachment = node.added(args=text.replace("{}", wanted[0]))
    assert wanted[0] in attachment.addresses


@pytest.mark.cells("text")
@pytest.mark.line(9, 29)
@pytest.mark.podwire_decision
@pytest.mark.parametrize(
    "text", ["IP=nonsense", "IP=10.22.0.300", "MAC=nonsense", "IP=203.0.113.7", "IP=10.22.0.9%eth0"]
)
def test_bad_argument_is_named(node: Node, text: str) -> None:
    """Line 9: an argument of ours that makes no sense is an error that quotes it."""
    pod = node.pod()
    with node.unchanged(pod):
        assert text.partition("=")[2] in node.refused(node.plugin.cni_add(node.config(), "c1", pod.path, args=text))


@pytest.mark.line(10)
def test_precedence_of_address_requests(node: Node) -> None:
    """Line 10: runtimeConfig over `args.cni.ips` over CNI_ARGS."""
    by_runtime, by_config, by_args = (node.subject.addresses(number) for number in (60, 70, 80))
    text = f"IgnoreUnknown=1;IP={by_args[0]}"
    assert by_args[0] in node.added(args=text).addresses
    configured = node.config(args={"cni": {"ips": by_config}})
    assert node.added(configured, args=text).addresses == by_config
    assert node.added({**configured, "runtimeConfig": {"ips": by_runtime}}, args=text).addresses == by_runtime


@pytest.mark.line(10)
def test_precedence_of_mac_requests(node: Node) -> None:
    """Line 10: the same for the MAC address."""
    macs = [f"02:00:00:00:00:0{number}" for number in range(3)]
    config = node.config()
    text = f"IgnoreUnknown=1;MAC={macs[2]}"
    assert node.added(config, args=text).inside["mac"] == macs[2]
    config["args"] = {"cni": {"mac": macs[1]}}
    assert node.added(config, args=text).inside["mac"] == macs[1]
    last = node.added({**config, "runtimeConfig": {"mac": macs[0]}}, args=text)
    assert last.inside["mac"] == macs[0]
    assert last.pod.links()["eth0"]["address"] == macs[0]


@pytest.mark.line(10, "keys")
@pytest.mark.podwire_decision
def test_configured_mac_comes_last(node: Node) -> None:
    """Line 10: the configuration's own `mac` yields to every request."""
    config = node.config(mac="02:00:00:00:00:0a")
    assert node.added(config).inside["mac"] == "02:00:00:00:00:0a"
    node.silent(node.plugin.cni_gc({**config, "cni.dev/valid-attachments": []}))
    assert node.added(config, args="MAC=02:00:00:00:00:0b").inside["mac"] == "02:00:00:00:00:0b"


@pytest.mark.line(9)
def test_no_child_of_the_environment_leaks(node: Node, tmp_path: Path) -> None:
    """Line 9: shell syntax in an argument is data; it is executed by nobody."""
    mark = tmp_path / "executed"
    node.plugin.cni_add(
        node.config(), "c1", node.pod().path, args=f"IgnoreUnknown=1;A=$(touch {mark});B=`touch {mark}`"
    )
    assert not wait_until(mark.exists, timeout_seconds=0.2)
