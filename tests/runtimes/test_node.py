# SPDX-License-Identifier: Apache-2.0
"""The lab's nodes: isolated from the machine, and removed completely after any end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire_lab import node
from podwire_lab.lab_host import LabHost, read_netns
from podwire_lab.node import Node, NodeError
from podwire_lab.service import Service
from tests.runtimes import traces
from tests.runtimes.world import LAB_PREFIX
from tests.support.namespace import wait_until

LAB = f"{LAB_PREFIX}-{os.getpid()}-node"
START_A_NODE = "import sys; from podwire_lab.node import Node, LabHost; Node(LabHost(sys.argv[1], 'node')).start()"


@pytest.fixture
def here() -> Iterator[Node]:
    """A host name for a node, which is removed afterwards."""
    yield Node(LabHost(LAB, "node"))
    node.remove_lab(LAB)
    assert wait_until(lambda: traces.of_lab(LAB) == []), traces.of_lab(LAB)


def test_what_a_node_writes_stays_in_it(here: Node) -> None:
    machine = socket.gethostname()
    here.start()
    for path in ("/etc/podwire-lab-test", "/opt/cni/bin/podwire-lab-test", "/usr/podwire-lab-test"):
        here.write(path, "text")
        assert here.run("cat", path).output == "text"
        assert not Path(path).exists()
    assert here.run("hostname").output.strip() == "node"
    assert socket.gethostname() == machine
    assert "127.0.0.1" in here.run("ip", "-brief", "address").output
    assert "podwire_lab.init" in here.run("cat", "/proc/1/cmdline").output


def test_the_death_of_the_first_process_ends_everything(here: Node) -> None:
    here.start()
    here.serve(Service("sleeper", ("sleep", "1000")))
    here.wait_for(lambda: here.service_pid("sleeper") is not None, "sleeper")
    assert any("sleep" in trace for trace in traces.of_lab(LAB))
    os.kill(here.pid, signal.SIGKILL)
    assert wait_until(lambda: not [trace for trace in traces.of_lab(LAB) if trace.startswith("process")])
    assert not here.runs
    with pytest.raises(NodeError, match="does not run"):
        here.run("true")


def test_a_service_that_dies_is_restarted_and_a_service_that_is_stopped_stays_stopped(here: Node) -> None:
    here.start()
    here.serve(Service("sleeper", ("sleep", "1000")))
    here.wait_for(lambda: here.service_pid("sleeper") is not None, "sleeper")
    first = here.service_pid("sleeper")
    here.run("kill", "-9", str(first))
    here.wait_for(lambda: here.service_pid("sleeper") not in (None, first), "sleeper")
    here.end_service("sleeper")
    assert here.service_pid("sleeper") is None
    assert here.runs


def test_a_service_that_cannot_start_is_logged_and_the_node_runs(here: Node) -> None:
    here.start()
    here.serve(Service("nobody", ("/no/such/program",)))
    here.wait_for(lambda: "/no/such/program" in here.log("init"), "init")
    assert here.runs


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_a_start_that_was_killed_leaves_nothing_after_removal(here: Node, seconds: float) -> None:
    starter = subprocess.Popen([sys.executable, "-c", START_A_NODE, LAB])
    time.sleep(seconds)  # it may be at any step
    starter.kill()
    starter.wait()
    node.remove_lab(LAB)
    assert wait_until(lambda: traces.of_lab(LAB) == []), traces.of_lab(LAB)


def test_removal_of_a_lab_that_does_not_exist_is_no_error() -> None:
    assert node.remove_lab(LAB) == []


def test_names_of_namespaces_are_parsed() -> None:
    host = LabHost("a-b", "c")
    assert read_netns(host.netns) == host
    assert read_netns("someone-elses") is None
    for name in ("", "a.b", "-a", "A", "a" * 33):
        with pytest.raises(ValueError, match="is not a name for a lab"):
            LabHost("lab", name)
