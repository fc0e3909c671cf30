# SPDX-License-Identifier: Apache-2.0
"""`podwire lab`: building, showing, checking and removing a lab; afterwards the machine is unchanged."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire_lab import archive, images, node
from podwire_lab.command import CommandError
from tests.runtimes import traces
from tests.runtimes.command import LAB, PODWIRE, in_lab, lab, refused, status
from tests.runtimes.registry import registry
from tests.runtimes.world import LAB_PREFIX, containerd_2
from tests.support.namespace import left_after, wait_until

OTHER = f"{LAB_PREFIX}-{os.getpid()}-other"
EVERYTHING = os.environ.get("PODWIRE_TEST_EVERYTHING")
"""Set it to try all combinations instead of a selection in which every pair of values occurs."""

Kind = tuple[str, str, str]
ALL_KINDS: list[Kind] = list(itertools.product(("l2", "routed"), ("routed", "bridge"), ("v4", "v6", "dual")))
SELECTION: list[Kind] = [
    ("l2", "routed", "v4"),
    ("routed", "bridge", "v4"),
    ("l2", "bridge", "v6"),
    ("routed", "routed", "v6"),
    ("routed", "routed", "dual"),
    ("l2", "bridge", "dual"),
]


@pytest.fixture
def unchanged() -> Iterator[None]:
    """The machine is unchanged after the test, and its labs are removed."""
    before = traces.of_machine()
    try:
        yield
        assert wait_until(lambda: traces.of_lab(LAB) + traces.of_lab(OTHER) == [], 10), traces.of_lab(LAB)
        assert left_after(lambda: sorted(traces.of_machine() ^ before), 10) == []
    finally:
        for name in (LAB, OTHER):
            node.remove_lab(name)


@pytest.mark.parametrize(("topology", "mode", "family"), ALL_KINDS if EVERYTHING else SELECTION)
def test_built_checked_and_removed(unchanged: None, topology: str, mode: str, family: str) -> None:
    done = lab("run", "--topology", topology, "--mode", mode, "--family", family)
    assert done.returncode == 0, done.stdout + done.stderr
    for pod in ("nginx-worker-1", "bash-worker-1", "nginx-worker-2", "bash-worker-2"):
        assert pod in done.stdout
    assert "✗" not in done.stdout
    assert "passed" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr, "plain lines without a terminal"


@pytest.mark.parametrize(("tunnel", "device"), [("always", "podwire-vx4"), ("never", "eth0")], ids=lambda word: word)
def test_the_tunnel_is_used_as_asked(unchanged: None, tunnel: str, device: str) -> None:
    assert lab("up", "--nodes", "2", "--family", "v4", "--tunnel", tunnel).returncode == 0
    route = json.loads(in_lab("master", "ip", "-json", "route", "show", "10.244.1.0/24").stdout)
    assert [row["dev"] for row in route] == [device]
    assert lab("check").returncode == 0
    assert lab("down").returncode == 0


def test_other_numbers_of_nodes(unchanged: None) -> None:
    for count, pods in (("1", 2), ("5", 8)):
        assert lab("up", "--nodes", count, "--family", "v4").returncode == 0
        found = status()
        assert len(found["nodes"]) == int(count)
        assert sum(len(each["pods"]) for each in found["nodes"]) == pods
        report = json.loads(lab("check", "-o", "json").stdout)
        assert report["ok"]
        assert report["probes"] > 0
        assert lab("down").returncode == 0


def test_two_labs_at_the_same_time(unchanged: None) -> None:
    starts = [
        subprocess.Popen([PODWIRE, "lab", "up", "--name", name, "--nodes", "2"], stderr=subprocess.DEVNULL)
        for name in (LAB, OTHER)
    ]
    assert [each.wait(timeout=120) for each in starts] == [0, 0]
    all_of_them = subprocess.run([PODWIRE, "lab", "status", "-o", "json"], capture_output=True, check=True)
    everything = json.loads(all_of_them.stdout)
    assert {LAB, OTHER} <= {each["name"] for each in everything["labs"]}
    assert lab("down").returncode == 0
    assert lab("check", name=OTHER).returncode == 0, "the other lab still runs"
    assert lab("down", name=OTHER).returncode == 0


def test_a_newer_containerd(unchanged: None) -> None:
    assert lab("up", "--nodes", "2", "--containerd", str(containerd_2().programs)).returncode == 0
    assert "v2." in in_lab("worker-1", "crictl", "version").stdout
    assert in_lab("bash-worker-1", "hostname").stdout.strip() == "bash-worker-1"
    assert lab("check").returncode == 0
    assert lab("down").returncode == 0


def own_image(name: str) -> archive.Image:
    """An image with a name that the lab does not use."""
    (own,) = [each for each in images.images() if each.names == (images.PAUSE,)]
    return archive.Image((name,), own.layers, own.command)


def test_an_image_of_a_file(unchanged: None, tmp_path: Path) -> None:
    """A file in the format of `docker save` and `podman save`."""
    file = tmp_path / "own.tar"
    file.write_bytes(archive.archive([own_image("example.org/own:1")]))
    assert lab("up", "--nodes", "2", "--family", "v4", "--image", f"bash={file}").returncode == 0
    used = {pod["name"]: pod["image"] for each in status()["nodes"] for pod in each["pods"]}
    assert used["bash-worker-1"] == "example.org/own:1"
    assert in_lab("bash-worker-1", "sh", "-c", "exit 5").returncode == 5
    assert lab("down").returncode == 0


def test_an_image_of_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_CACHE", str(tmp_path))
    with registry(own_image("own:1")) as server:
        conf = tmp_path / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{server}"\ninsecure = true\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
        file = images.pulled(f"{server}/some/own:1")
    with tarfile.open(file) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert manifest[0]["RepoTags"] == [f"{server}/some/own:1"]
    with pytest.raises(CommandError, match="connection refused"):
        images.pulled(f"{server}/some/other:1")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["up", "--nodes", "9"], "1 to 8"),
        (["up", "--nodes", "1", "--topology", "routed"], "second node"),
        (["up", "--image", "ubuntu"], "--image"),
        (["up", "--image", "bash=/no/such/file.tar"], "/no/such/file.tar"),
        (["up", "--containerd", "/no/such/folder"], "/no/such/folder"),
        (["down"], "there is no lab"),
        (["check"], "there is no lab"),
        (["status"], "there is no lab"),
        (["exec", "worker-1", "true"], "there is no lab"),
        (["up", "--mode", "cloud"], "cloud"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, list) else "",
)
def test_wrong_arguments_are_reported_in_one_line(unchanged: None, words: list[str], reason: str) -> None:
    assert reason in refused(lab(*words, name=OTHER))
    assert refused(lab(*words, name="No.Name"))


MOMENTS = (
    ("underlay:", 0.0),
    ("worker-1: creating", 0.0),
    ("worker-1: creating", 0.15),
    ("worker-1: starting podwire", 0.05),
    ("worker-1: loading images", 0.2),
    ("worker-1: starting pods", 0.2),
)


def until(told: str) -> subprocess.Popen[str]:
    """A `podwire lab up` that has printed a line with `told`."""
    # A shell ignores SIGINT for background jobs, and children inherit that.
    argv = ["env", "--default-signal=INT", PODWIRE, "lab", "up", "--name", LAB]
    building = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert building.stderr
    for line in building.stderr:
        if told in line:
            return building
    raise AssertionError(f"it did not print {told!r}")


@pytest.mark.parametrize(("told", "seconds"), MOMENTS)
def test_down_after_up_was_killed(unchanged: None, told: str, seconds: float) -> None:
    building = until(told)
    time.sleep(seconds)
    building.kill()
    building.wait()
    assert lab("down").returncode == 0
    assert traces.of_lab(LAB) == []


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_CACHE", str(tmp_path))
    die = "with images.temporary_folder(): os.kill(os.getpid(), signal.SIGKILL)"
    script = f"import os, signal\nfrom podwire_lab import images\n{die}"
    subprocess.run([sys.executable, "-c", script], check=False)
    with images.temporary_folder() as mine:
        assert len(list(images.folder().iterdir())) == 2
        assert refused(lab("down"))
        assert list(images.folder().iterdir()) == [mine]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_up_that_is_interrupted_removes_the_lab(unchanged: None, number: signal.Signals) -> None:
    building = until("worker-1: starting podwire")
    building.send_signal(number)
    assert building.wait(timeout=60) == 128 + number
    assert traces.of_lab(LAB) == []


def test_up_that_fails_removes_the_lab_and_reports_why(unchanged: None, tmp_path: Path) -> None:
    file = tmp_path / "no.tar"
    file.write_bytes(b"this is no image")
    done = lab("up", "--image", f"bash={file}")
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert traces.of_lab(LAB) == []


def test_down_of_a_broken_lab(unchanged: None) -> None:
    assert lab("up", "--nodes", "2").returncode == 0
    hosts = node.read_hosts(LAB)
    os.kill(node.Node(hosts[-1]).pid, signal.SIGKILL)
    assert "does not run" in lab("status").stdout
    assert lab("check").returncode == 1
    assert lab("down").returncode == 0


def test_only_one_command_changes_a_lab(unchanged: None) -> None:
    building = until("worker-1: creating")
    done = lab("down")
    assert done.returncode == 0, "it stops the build"
    assert building.wait(timeout=60) != 0
