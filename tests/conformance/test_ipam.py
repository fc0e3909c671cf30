# SPDX-License-Identifier: Apache-2.0
"""Lines 19, 35 and 36: an IPAM plugin that ADD, CHECK, DEL, GC and STATUS delegate to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.ipam import TYPE, Ipam
from tests.conformance.node import Attachment, Node, encoded
from tests.conformance.subject import ABSENT, Config

DUAL = ("10.50.0.7/24", "fd00:50::7/64")


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    """The shell-made IPAM plugin, answering ADD with one address per family."""
    made = Ipam(tmp_path)
    made.gives(*DUAL)
    return made


def _config(node: Node, ipam: Ipam, **changes: Any) -> Config:
    return node.config(subnet=ABSENT, ipam=ipam.config, **changes)


def _path(node: Node, ipam: Ipam) -> str:
    return f"{ipam.bin}:{node.plugin.binary.parent}"


def _added(node: Node, ipam: Ipam, **changes: Any) -> Attachment:
    return node.added(_config(node, ipam, **changes), CNI_PATH=_path(node, ipam))


@pytest.mark.line(35)
@pytest.mark.cells("datapaths")
def test_delegated_addresses_are_used(node: Node, ipam: Ipam) -> None:
    """Line 35: the addresses come from the IPAM plugin, which sees our environment and standard input."""
    attachment = _added(node, ipam, isGateway=True)
    assert sorted(attachment.addresses) == ["10.50.0.7", "fd00:50::7"]
    assert attachment.pod.pings("10.50.0.1")
    assert attachment.pod.pings("fd00:50::1")
    seen = ipam.environment("ADD")
    expected = node.plugin.variables("ADD", attachment.container, attachment.pod.path, "eth0")
    del expected["CNI_PATH"]
    assert expected["CNI_COMMAND"] == "ADD"
    for name, value in expected.items():
        assert seen.get(name, "") == value, name
    assert seen["CNI_PATH"] == _path(node, ipam)
    assert ipam.stdin("ADD") == attachment.config


@pytest.mark.line(35)
@pytest.mark.parametrize("version", ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_delegated_result_in_every_version(node: Node, ipam: Ipam, version: str) -> None:
    """Line 35: the IPAM plugin's result of that version is understood."""
    if version == "0.2.0":
        ipam.answers("ADD", {"cniVersion": version, "ip4": {"ip": DUAL[0], "gateway": "10.50.0.1"}})
    else:
        ipam.gives(DUAL[0], version=version)
        if version.startswith("0."):
            entry = {"version": "4", "address": DUAL[0], "gateway": "10.50.0.1"}
            ipam.answers("ADD", {"cniVersion": version, "ips": [entry]})
    assert _added(node, ipam, cniVersion=version).addresses == ["10.50.0.7"]


@pytest.mark.line(35)
@pytest.mark.cells("datapaths")
def test_del_check_and_more_are_delegated(node: Node, ipam: Ipam) -> None:
    """Lines 26 and 35: CHECK, GC, STATUS and DEL reach the IPAM plugin as well."""
    attachment = _added(node, ipam)
    more = {"CNI_PATH": _path(node, ipam)}
    node.silent(node.plugin.cni_check(attachment.config_with_result, attachment.container, attachment.pod.path, **more))
    valid = [{"containerID": attachment.container, "ifname": "eth0"}]
    node.silent(node.plugin.cni_gc({**attachment.config, "cni.dev/valid-attachments": valid}, **more))
    assert ipam.stdin("GC")["cni.dev/valid-attachments"] == valid
    node.silent(node.plugin.cni_status(attachment.config, **more))
    node.silent(node.plugin.cni_del(attachment.config, attachment.container, attachment.pod.path, **more))
    assert ipam.order == ["ADD", "CHECK", "GC", "STATUS", "DEL"]
    assert not node.host_veths()


@pytest.mark.line(19, 35)
@pytest.mark.cells("datapaths")
def test_a_failing_ipam_plugin(node: Node, ipam: Ipam) -> None:
    """Lines 19 and 35: its error code and msg are passed on; it is sent DEL; nothing is left behind."""
    _added(node, ipam)
    ipam.fails("ADD", 117, "no address left in pool seven")
    (ipam.notes / "order").unlink()
    pod = node.pod()
    with node.unchanged(pod):
        outcome = node.plugin.cni_add(_config(node, ipam), "c1", pod.path, CNI_PATH=_path(node, ipam))
        assert "no address left in pool seven" in node.refused(outcome, 117)
    assert ipam.order == ["ADD", "DEL"]
    assert ipam.environment("DEL")["CNI_CONTAINERID"] == "c1"


@pytest.mark.line(19)
@pytest.mark.cells("datapaths")
def test_a_failure_after_the_ipam_plugin(node: Node, ipam: Ipam) -> None:
    """Line 19: when ADD fails after the IPAM plugin gave addresses, they are given back by DEL."""
    _added(node, ipam)
    (ipam.notes / "order").unlink()
    ipam.gives("10.50.0.9/24", routes=[{"dst": "198.51.100.0/24", "gw": "127.0.0.1"}])
    pod = node.pod()
    with node.unchanged(pod):
        outcome = node.plugin.cni_add(_config(node, ipam), "c1", pod.path, CNI_PATH=_path(node, ipam))
        node.refused(outcome, own=100, words="route add 198.51.100.0/24 via 127.0.0.1")
    assert ipam.order == ["ADD", "DEL"]


# What the IPAM plugin prints for ADD, and whether it exits 1.
ANSWERS: dict[str, tuple[str, bool]] = {
    "no addresses": ('{"cniVersion": "1.1.0", "ips": []}', False),
    "no object": ("[]", False),
    "nothing": ("", False),
    "text": ("segmentation fault", False),
    "bad address": ('{"cniVersion": "1.1.0", "ips": [{"address": "ten"}]}', False),
    "fails with text": ("oops", True),
    "fails silently": ("", True),
}


@pytest.mark.cells("text")
@pytest.mark.line(35)
@pytest.mark.podwire_decision
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_ipam_plugin_that_talks_nonsense(node: Node, ipam: Ipam, answer: str) -> None:
    """Line 35: whatever the IPAM plugin prints, the error is in due form and names it; it is sent DEL."""
    _added(node, ipam)
    (ipam.notes / "order").unlink()
    text, fails = ANSWERS[answer]
    (ipam.notes / "ADD.answer").write_text(text)
    if fails:
        (ipam.notes / "ADD.fails").touch()
    pod = node.pod()
    with node.unchanged(pod):
        outcome = node.plugin.cni_add(_config(node, ipam), "c1", pod.path, CNI_PATH=_path(node, ipam))
        assert TYPE in node.refused(outcome)
    assert ipam.order == ["ADD", "DEL"]


@pytest.mark.cells("text")
@pytest.mark.line(35, 30)
@pytest.mark.parametrize("name", ["pwt-nowhere", "folder"])
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_no_such_ipam_plugin(node: Node, ipam: Ipam, name: str, command: str) -> None:
    """Lines 30 and 35: only a regular file counts; an absent plugin is an error that names it."""
    (ipam.bin / "folder").mkdir()
    _added(node, ipam)
    pod = node.pod()
    with node.unchanged(pod):
        config = {**_config(node, ipam), "ipam": {"type": name}}
        outcome = node.plugin.call(command, config, "c1", pod.path, ifname="eth0", CNI_PATH=_path(node, ipam))
        assert name in node.refused(outcome)


@pytest.mark.line(35, 30)
@pytest.mark.podwire_decision
def test_del_without_its_ipam_plugin_is_not_taken_for_success(node: Node, ipam: Ipam) -> None:
    """Line 30: a real DEL failure must not say "not found": containerd would take it for success."""
    config = {**_config(node, ipam), "ipam": {"type": "pwt-nowhere"}}
    outcome = node.plugin.cni_del(config, "c1", node.pod().path, CNI_PATH=_path(node, ipam))
    message = node.refused(outcome).lower()
    assert "not found" not in message
    assert "no such file" not in message


@pytest.mark.cells("text")
@pytest.mark.line(35)
@pytest.mark.parametrize("name", ["../ipam-bin/pwt-ipam", "/bin/true", "a/b", "..", "."])
def test_ipam_type_with_a_slash(node: Node, ipam: Ipam, name: str) -> None:
    """Line 35: the type is a name without `/`; nothing outside CNI_PATH is executed."""
    _added(node, ipam)
    (ipam.notes / "order").unlink()
    pod = node.pod()
    config = {**_config(node, ipam), "ipam": {"type": name}}
    with node.unchanged(pod):
        outcome = node.plugin.cni_add(config, "c1", pod.path, CNI_PATH=_path(node, ipam))
        node.refused(outcome, own=7, words="is a path")
    assert ipam.order == []


@pytest.mark.line(35)
def test_first_of_the_path_wins(node: Node, ipam: Ipam, tmp_path: Path) -> None:
    """Line 35: of several of that name the first in CNI_PATH is called; absent folders are passed."""
    (tmp_path / "second").mkdir()
    second = Ipam(tmp_path / "second")
    second.gives("10.50.0.99/24")
    path = f"{tmp_path}/nowhere:{ipam.bin}:{second.bin}"
    attachment = node.added(_config(node, ipam), CNI_PATH=path)
    assert "10.50.0.7" in attachment.addresses
    assert second.order == []


@pytest.mark.line(36)
@pytest.mark.cells("datapaths")
@pytest.mark.podwire_decision
def test_no_child_holds_the_output(node: Node, ipam: Ipam) -> None:
    """Line 36: a child that an IPAM plugin leaves behind holds neither our stdout nor our stderr."""
    (ipam.notes / "ADD.linger").touch()
    pod = node.pod()
    variables = node.plugin.variables("ADD", "c1", pod.path, "eth0", CNI_PATH=_path(node, ipam))
    process = node.plugin.start(variables, encoded(_config(node, ipam)))
    _ends_with_its_output(process)


@pytest.mark.line(36)
@pytest.mark.cells("datapaths")
def test_output_ends_with_the_program(node: Node) -> None:
    """Line 36: when the program has ended, its stdout and stderr are at their end too."""
    pod = node.pod()
    for command in ("ADD", "DEL"):
        variables = node.plugin.variables(command, "c1", pod.path, "eth0")
        _ends_with_its_output(node.plugin.start(variables, encoded(node.config())))


def _ends_with_its_output(process: Any) -> None:
    """The program has exited, so a non-blocking read must reach the end of file, never "try again"."""
    with process:
        assert process.wait(timeout=60) == 0
        for pipe in (process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
            while os.read(pipe.fileno(), 65536):
                pass
