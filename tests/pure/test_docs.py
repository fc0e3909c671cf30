# SPDX-License-Identifier: Apache-2.0
"""The documents agree with the code: links, paths, versions, settings, verbs; and their lines are short enough."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

import podwire
from podwire.cli.main import VERBS
from podwire.datapath.routed import Routed
from podwire.node.settings_file import PeerTable, SettingsTable, load
from podwire.plugin.config import parse_configuration

ROOT = Path(__file__).parents[2]
CHANGELOG = ROOT / "CHANGELOG.md"
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [*GUIDES, CHANGELOG, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
MAX_COLUMNS = 100
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|c|h))`")
ADR_HEAD = re.compile(
    r"# (\d+)\. \S.*\n\n- Status: (?:accepted|rejected|replaced)\b.*\n(?:  .*\n)*- Date: \d{4}-\d\d-\d\d\n\n"
)


def test_links_have_a_target() -> None:
    links = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    own = [(page, target) for page, target in links if "://" not in target]
    assert len(own) > len(PAGES)
    for page, target in own:
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_links_to_a_section_have_a_target() -> None:
    links = [
        (page, target, section)
        for page in PAGES
        for target, section in re.findall(r"\]\(([^)#:]*)#([\w-]+)\)", page.read_text())
    ]
    assert len(links) > 3
    for page, target, section in links:
        text = (page.parent / target if target else page).read_text()
        titles = [re.sub(r"[^\w -]", "", title).strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.M)]
        assert section in {title.replace(" ", "-") for title in titles}, f"{page.name}: {target}#{section}"


def test_paths_in_the_architecture_exist() -> None:
    named = set(PATH.findall((ROOT / "docs" / "architecture.md").read_text()))
    assert len(named) > 40
    missing = {path for path in named if not any((base / path).exists() for base in (ROOT, ROOT / "src" / "podwire"))}
    assert missing == set()


def test_the_architecture_describes_every_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in (ROOT / "src" / "podwire").glob("*/__init__.py")}
    assert len(packages) > 10
    assert {name for name in packages if f"| `{name}/` |" not in text} == set()


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page without code blocks and tables, with their numbers."""
    in_code = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("|"):
            yield number, line


def test_lines_are_short_enough() -> None:
    lines = [(page, number, line) for page in PAGES for number, line in prose(page)]
    assert len(lines) > 500
    assert [f"{page.name}:{number}" for page, number, line in lines if len(line) > MAX_COLUMNS] == []


def test_adrs_have_one_format() -> None:
    assert len(ADRS) > 10
    for number, page in enumerate(ADRS, 1):
        text = page.read_text()
        head = ADR_HEAD.match(text)
        assert head, page.name
        assert int(head[1]) == int(page.name[:4]) == number
        assert re.findall(r"^## (.*)$", text, re.M) == ["Context", "Decision", "Consequences"], page.name


def test_all_versions_agree() -> None:
    """The version is in src/podwire/__init__.py; what cannot read it there has the same one."""
    version = podwire.__version__
    lab = tomllib.loads((ROOT / "lab" / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "deploy" / "helm" / "Chart.yaml").read_text())
    files = ("deploy/Containerfile", "deploy/podwire.yaml", "deploy/uninstall.yaml", "docs/kubernetes.md")
    images = [found for name in files for found in re.findall(r"podwire:(\d[\w.]*\w)", (ROOT / name).read_text())]
    assert len(images) > len(files)
    assert {lab, chart["version"], chart["appVersion"], *images} == {version}
    released = re.findall(r"^## (\d\S*) - \d{4}-\d\d-\d\d$", CHANGELOG.read_text(), re.M)
    assert released[0] == version


def test_the_examples_of_the_configuration_are_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    conflist = msgspec.json.decode(re.findall(r"```json\n(.*?)```", page, re.S)[0])
    plugin = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **conflist["plugins"][0]}
    assert isinstance(parse_configuration(msgspec.json.encode(plugin)).datapath, Routed)
    file = tmp_path / "podwire.toml"
    file.write_text(re.findall(r"```toml\n(.*?)```", page, re.S)[0])
    warnings: list[str] = []
    loaded = load(file, warn=warnings.append)
    assert loaded.settings.name == "worker-1" and set(loaded.peers) == {"worker-2"} and not warnings


@pytest.mark.parametrize("table", [SettingsTable, PeerTable])
def test_every_setting_of_the_file_is_documented(table: type[msgspec.Struct]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    fields = msgspec.structs.fields(table)
    assert fields
    for field in fields:
        assert re.search(rf"^(\[+)?{field.name}\b", page, re.M), field.name


def test_every_verb_has_a_file_and_a_description() -> None:
    words = " ".join(page.read_text() for page in GUIDES)
    for verb in VERBS:
        lab = ROOT / "lab" / "src" / "podwire_lab" / "cli.py"
        assert (lab if verb == "lab" else ROOT / "src" / "podwire" / "cli" / f"{verb}.py").exists()
        assert f"podwire {verb}" in words or verb == "version", verb
