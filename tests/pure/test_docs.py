"""The documents tell of things that are there: links, tests, settings and verbs."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import rtoml

from podwire.cli.main import VERBS
from podwire.node.old_settings import RawSettings, settle
from podwire.plugin.config import parse_configuration

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_links_lead_somewhere() -> None:
    links = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#]+)\)", page.read_text())]
    own = [(page, target) for page, target in links if "://" not in target]
    assert len(own) > len(PAGES)
    for page, target in own:
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_examples_of_the_configuration_are_accepted() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    conflist = msgspec.json.decode(re.findall(r"```json\n(.*?)```", page, re.S)[0])
    plugin = {"cniVersion": conflist["cniVersion"], "name": conflist["name"], **conflist["plugins"][0]}
    assert parse_configuration(msgspec.json.encode(plugin)).mode == "routed"
    raw = msgspec.convert(rtoml.loads(re.findall(r"```toml\n(.*?)```", page, re.S)[0]), RawSettings)
    settings, _ = settle(raw, "host")
    assert settings.name == "worker-1" and settings.port == 4789


def test_every_setting_of_the_file_is_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    fields = msgspec.structs.fields(RawSettings)
    assert fields
    for field in fields:
        assert re.search(rf"^(\[+)?{field.name}\b", page, re.M), field.name


def test_every_verb_has_a_file_and_is_told_of() -> None:
    words = " ".join(page.read_text() for page in PAGES)
    for verb in VERBS:
        lab = ROOT / "lab" / "src" / "podwire_lab" / "cli.py"
        assert (lab if verb == "lab" else ROOT / "src" / "podwire" / "cli" / f"{verb}.py").exists()
        assert f"podwire {verb}" in words or verb == "version", verb
