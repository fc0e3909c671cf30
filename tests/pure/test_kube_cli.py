# SPDX-License-Identifier: Apache-2.0
"""`podwire agent --kubernetes`: what it refuses in one line, and that its page tells of it as it is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import rtoml

from podwire.cli.main import main
from podwire.kube import nodes
from podwire.kube.client import Api, KubernetesConfigError
from podwire.kube.settings import ClusterSettings
from podwire.kube.source import ADDRESS_CHANGED

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
GOOD = (
    "current-context: a\nclusters: [{name: a, cluster: {server: 'https://192.0.2.1:6443'}}]\n"
    "users: [{name: a, user: {token: t}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "NODE_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_good_kubeconfig_is_taken_from_the_option_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(GOOD)
    assert Api(file).server == "https://192.0.2.1:6443"
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert Api(None).server == "https://192.0.2.1:6443"


@pytest.mark.parametrize(
    "text",
    ["", "- a", "a: [", "current-context: b\n" + GOOD.split("\n", 1)[1], GOOD.replace("users:", "people:"), "\x00"],
)
def test_a_bad_kubeconfig_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    with pytest.raises(KubernetesConfigError) as refused:
        Api(file)
    assert str(file) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--kubernetes"], "--kubeconfig"),
        (["--kubernetes", "--kubeconfig", "/nonexistent"], "/nonexistent"),
        (["--kubernetes", "--config", "/nonexistent.toml"], "/nonexistent.toml"),
        (["--node-name", "a"], "--kubernetes"),
        (["--kubeconfig", "a"], "--kubernetes"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agent", "--socket", str(tmp_path / "agent.sock"), *options]) == 1
    said = capsys.readouterr().err
    assert words in said and len(said.splitlines()) == 1


def test_the_page_has_the_file_with_its_defaults() -> None:
    text = re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0]
    assert msgspec.convert(rtoml.loads(text), ClusterSettings) == ClusterSettings()


def test_the_page_has_every_reason_and_no_other() -> None:
    reasons = {value for name, value in vars(nodes).items() if name.isupper() and isinstance(value, str)}
    table = PAGE.partition("| reason | what to do |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == reasons | {ADDRESS_CHANGED}
