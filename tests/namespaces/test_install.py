# SPDX-License-Identifier: Apache-2.0
"""`podwire install` and `uninstall`: whole files or none, other people's left alone, honest words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.namespace import Namespace

PODWIRE = str(Path(sys.executable).parent / "podwire")


def podwire(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PODWIRE, *arguments], capture_output=True, text=True, check=False, timeout=60)


def install(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return podwire("install", "--bin-dir", str(folder / "bin"), "--conf-dir", str(folder / "conf"), *more)


def test_one_binary_under_three_names_and_a_configuration(tmp_path: Path) -> None:
    done = install(tmp_path, "--subnet", "10.244.7.0/24")
    assert done.returncode == 0
    files = {path.name: path.stat().st_ino for path in (tmp_path / "bin").iterdir()}
    assert set(files) == {"podwire", "bash-cni", "loopback"} and len(set(files.values())) == 1
    conflist = json.loads((tmp_path / "conf" / "10-podwire.conflist").read_text())
    assert conflist["cniVersion"] == "1.0.0" and "1.1.0" in conflist["cniVersions"]
    assert conflist["plugins"][0]["subnet"] == "10.244.7.0/24"
    assert conflist["plugins"][0]["network"] == "10.244.0.0/16"
    assert [path.name for path in (tmp_path / "conf").iterdir()] == ["10-podwire.conflist"], "nothing is left beside"


@pytest.mark.failure_mode('"text file busy" on upgrade')
def test_a_running_plugin_can_be_replaced(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    running = subprocess.Popen(
        [str(tmp_path / "bin" / "podwire")],
        stdin=subprocess.PIPE,
        env={"CNI_COMMAND": "VERSION"},
        stdout=subprocess.PIPE,
    )
    try:
        before = (tmp_path / "bin" / "podwire").stat().st_ino
        assert install(tmp_path).returncode == 0, "no text file busy"
        assert (tmp_path / "bin" / "podwire").stat().st_ino != before
        out, _ = running.communicate(b"{}", timeout=30)
        assert b"supportedVersions" in out
    finally:
        running.kill()
        running.wait()


@pytest.mark.failure_mode("the CNI binary holds API tokens")
def test_nothing_on_the_host_holds_a_credential(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    files = [*(tmp_path / "bin").iterdir(), *(tmp_path / "conf").iterdir()]
    assert {"podwire", "10-podwire.conflist"} <= {path.name for path in files}
    assert files
    for path in files:
        content = path.read_bytes().lower()
        assert not any(word in content for word in (b"token", b"password", b"secret", b"private key", b"kubeconfig"))


@pytest.mark.failure_mode("another configuration sorts first")
def test_a_configuration_that_sorts_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "05-other.conflist").write_text("{}")
    done = install(tmp_path)
    assert done.returncode == 0 and "warning: 05-other.conflist sorts before" in done.stdout


def test_bad_values_install_nothing(tmp_path: Path) -> None:
    for more in (["--subnet", "10.244.7.0"], ["--subnet", "x/24"], ["--name", "a b"], ["--subnet", "10.244.7.0/31"]):
        done = install(tmp_path, *more)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "nothing was installed" in done.stderr
        assert not (tmp_path / "bin").exists() and not (tmp_path / "conf").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "bin").write_text("")
    done = install(tmp_path)
    assert done.returncode == 1 and str(tmp_path / "bin") in done.stderr and "--bin-dir" in done.stderr


@pytest.mark.failure_mode("uninstall leaves things")
def test_uninstall_removes_ours_and_leaves_the_others(tmp_path: Path, host: Namespace) -> None:
    assert install(tmp_path).returncode == 0
    (tmp_path / "bin" / "bridge").write_text("somebody else's")
    (tmp_path / "conf" / "20-other.conflist").write_text("{}")
    (tmp_path / "bin" / "loopback").unlink()
    (tmp_path / "bin" / "loopback").write_text("somebody else's loopback")
    folders = ("--bin-dir", str(tmp_path / "bin"), "--conf-dir", str(tmp_path / "conf"))
    done = host.run(PODWIRE, "uninstall", *folders, "--socket", str(tmp_path / "none.sock"))
    assert "nothing of podwire is left in the kernel" in done.stdout
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"bridge", "loopback"}
    assert {path.name for path in (tmp_path / "conf").iterdir()} == {"20-other.conflist"}
    again = host.run(PODWIRE, "uninstall", *folders, "--socket", str(tmp_path / "none.sock"))
    assert again.returncode == 0, "twice is no error"


def test_every_verb_has_help_and_wrong_words_get_one(tmp_path: Path) -> None:
    for verb in ("agent", "install", "uninstall", "status", "version"):
        done = podwire(verb, "--help")
        assert done.returncode == 0 and f"podwire {verb}" in done.stdout
    done = podwire("instal")
    assert done.returncode == 2 and "invalid choice" in done.stderr and "Traceback" not in done.stderr
    assert "1.1.0" in podwire("version").stdout


def test_for_an_agent_in_a_pod_the_plugin_comes_alone(tmp_path: Path) -> None:
    done = install(tmp_path, "--kubernetes")
    assert done.returncode == 0 and done.stdout == f"{tmp_path}/bin: podwire, loopback\n"
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"podwire", "loopback"}
    assert not (tmp_path / "conf").exists(), "the agent writes it"
    refused = subprocess.run(
        [str(tmp_path / "bin" / "podwire")],
        input=b"{}",
        env={"CNI_COMMAND": "ADD", "PODWIRE_SOCKET": str(tmp_path / "nowhere")},
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert refused.returncode == 1 and json.loads(refused.stdout)["code"] == 11, "try again later"


def test_for_an_agent_in_a_pod_a_loopback_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "bin" / "loopback").write_text("theirs")
    (tmp_path / "conf" / "05-theirs.conflist").write_text("{}")
    done = install(tmp_path, "--kubernetes")
    assert done.returncode == 0 and "warning: 05-theirs.conflist sorts before" in done.stdout
    assert (tmp_path / "bin" / "loopback").read_text() == "theirs"
    uninstalled = podwire(
        "uninstall", "--keep-kernel", "--bin-dir", f"{tmp_path}/bin", "--conf-dir", f"{tmp_path}/conf"
    )
    assert uninstalled.returncode == 0
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["loopback"]


def test_what_belongs_into_the_agents_file_is_refused_with_kubernetes(tmp_path: Path) -> None:
    done = install(tmp_path, "--kubernetes", "--subnet", "10.1.0.0/24")
    assert done.returncode == 1
    assert done.stderr == "podwire: --subnet has no effect with --kubernetes: set it in the agent's file\n"
