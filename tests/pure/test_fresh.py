# SPDX-License-Identifier: Apache-2.0
"""What a bare root of `make fresh` takes from the machine: mirrors, settings of package clients, caches, no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fresh import bare
from tests.fresh.__main__ import COMMANDS, script

TARGETS = """\
bookworm http://mirror.example/debian main
bookworm-updates http://mirror.example/debian main
bookworm-security http://mirror.example/debian-security main
trixie http://mirror.example/debian main
"""


def test_another_release_comes_from_the_mirrors_of_the_machines_own() -> None:
    assert bare.sources(TARGETS, "bookworm", "trixie") == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]


def test_a_machine_without_a_mirror_says_what_to_do() -> None:
    with pytest.raises(LookupError, match="no mirror of Debian sid: add one"):
        bare.sources(TARGETS, "sid", "trixie")


def test_the_environment_has_the_settings_of_package_clients_and_nothing_else_of_the_machine() -> None:
    machine = {
        "CI": "true",
        "PATH": "/usr/local/go/bin:/usr/bin",
        "HOME": "/home/somebody",
        "PODWIRE_CACHE": "/cache",
        "PIP_INDEX_URL": "https://mirror.example/simple",
        "PIP_FIND_LINKS": "/opt/wheels",
        "GOPROXY": "https://mirror.example/go",
        "https_proxy": "http://proxy.example",
    }
    taken = bare.environment(machine)
    assert {name: taken.pop(name) for name in ("PIP_INDEX_URL", "GOPROXY", "https_proxy")} == {
        name: machine[name] for name in ("PIP_INDEX_URL", "GOPROXY", "https_proxy")
    }
    assert taken == bare.BASE_ENVIRONMENT


def test_the_shared_caches_are_those_that_the_clients_use() -> None:
    usual = bare.caches({}, Path("/home/somebody"))
    assert list(usual) == [Path("/home/somebody", name) for name in (".cache/go-build", "go/pkg/mod", ".cache/pip")]
    assert Path("/elsewhere") in bare.caches({"GOMODCACHE": "/elsewhere"}, Path("/home/somebody"))


def test_the_commands_are_those_of_the_readme() -> None:
    readme = (bare.CHECKOUT / "README.md").read_text().partition("## Two commands")[2]
    block = readme.partition("```sh\n")[2].partition("```")[0]
    assert tuple(line.partition("#")[0].strip() for line in block.splitlines()) == COMMANDS
    assert all(command in script("bookworm") for command in COMMANDS)
