# SPDX-License-Identifier: Apache-2.0
"""The two packages podwire and podwire-lab: the content of their wheels, and their declared dependencies."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import podwire
from podwire_lab import podwire_image

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = {"yaml": "pyyaml", "prometheus_client": "prometheus-client", "podwire_lab": "podwire-lab"}
"""The distribution of an imported package whose name differs from it."""

COMMANDS = {"mypy", "pytest-timeout", "pytest-xdist", "ruff"}
"""Distributions that are not imported: programs and plugins of pytest."""

CHECKOUT = {"bench", "hatch_build", "tests"}
"""Packages of the checkout, in no distribution."""

TABLES = {"podwire": ROOT / "pyproject.toml", "podwire-lab": ROOT / "lab" / "pyproject.toml"}


def requirements(distribution: str, *extras: str) -> set[str]:
    """The names of the distributions that a distribution declares, with those of extras."""
    project = tomllib.loads(TABLES[distribution].read_text())["project"]
    texts = [*project["dependencies"]]
    for extra in extras:
        texts += project["optional-dependencies"][extra]
    found = set()
    for text in texts:
        match = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", text)
        assert match, text
        name, own_extras = match.groups()
        found.add(name.lower().replace("_", "-"))
        if own_extras:
            found |= requirements(name, *own_extras.split(","))
    return found


def imported(files: Iterable[Path]) -> dict[str, Path]:
    """The distributions that files import, each with such a file; without the standard library."""
    found = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
                found[DISTRIBUTIONS.get(name, name)] = file
    return found


def undeclared(found: Mapping[str, Path], declared: set[str]) -> dict[str, Path]:
    """The imported distributions that are not declared."""
    return {name: file for name, file in found.items() if name not in declared}


PODWIRE = sorted((ROOT / "src").rglob("*.py"))
LAB = sorted((ROOT / "lab" / "src").rglob("*.py"))
DEVELOPMENT = [ROOT / "hatch_build.py", *(file for part in ("tests", "bench") for file in (ROOT / part).rglob("*.py"))]


def test_podwire_declares_what_it_imports() -> None:
    declared = requirements("podwire", "kubernetes", "metrics")
    found = imported(PODWIRE)
    assert undeclared(found, declared | {"podwire"}) == {}
    assert declared <= found.keys(), "every declared dependency is imported"


def test_the_dependencies_of_extras_are_imported_only_where_the_extra_is_needed() -> None:
    parts = {"kubernetes": "kube", "metrics": "observe"}
    for extra, folder in parts.items():
        only = requirements("podwire", extra) - requirements("podwire")
        others = [file for file in PODWIRE if folder not in file.parts]
        assert only and not only & imported(others).keys(), extra


def test_the_lab_declares_what_it_imports() -> None:
    declared = requirements("podwire-lab")
    found = imported(LAB)
    assert undeclared(found, declared | {"podwire-lab"}) == {}
    assert declared <= found.keys(), "every declared dependency is imported"


def test_tests_and_benchmarks_import_only_declared_distributions() -> None:
    declared = requirements("podwire", "dev") | {"podwire-lab"}
    found = imported(DEVELOPMENT)
    assert undeclared(found, declared | CHECKOUT) == {}
    own = requirements("podwire", "dev") - requirements("podwire", "kubernetes", "metrics") - {"podwire"}
    assert own - COMMANDS <= found.keys(), "every declared dependency is imported"


def test_an_undeclared_import_is_found(tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text("import os\nimport requests.sessions\ndef f(): from yaml import load\n")
    assert undeclared(imported([file]), {"requests"}) == {"pyyaml": file}


def test_podwire_never_imports_the_lab() -> None:
    assert "podwire-lab" not in imported(PODWIRE)
    named = [file.relative_to(ROOT) for file in PODWIRE if "podwire_lab" in file.read_text()]
    assert named == [Path("src/podwire/cli/main.py")], "only the command line looks whether the lab is installed"


def wheel(source: Path, folder: Path) -> zipfile.ZipFile:
    """Build the wheel of a source tree by `pip wheel`."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True, text=True)
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what podwire's image is built from, and of the lab beside it."""
    copy = tmp_path_factory.mktemp("sources")
    for name in (*podwire_image.INPUTS, "README.md", "lab"):
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "native"))
        else:
            shutil.copy(source, target)
    return copy


def test_the_wheel_of_podwire_has_no_file_of_the_lab(sources: Path, tmp_path: Path) -> None:
    names = wheel(sources, tmp_path).namelist()
    assert {name.partition("/")[0] for name in names} == {"podwire", f"podwire-{podwire.__version__}.dist-info"}
    assert {"podwire/cli/main.py", "podwire/native/podwire"} <= set(names)
    assert [name for name in names if "lab" in Path(name).parts or "podwire_lab" in name] == []


def test_the_wheel_of_the_lab_has_the_lab_alone(sources: Path, tmp_path: Path) -> None:
    built = wheel(sources / "lab", tmp_path)
    names = built.namelist()
    info = f"podwire_lab-{podwire.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"podwire_lab", info}
    assert {str(file.relative_to(ROOT / "lab" / "src")) for file in LAB} <= set(names)
    metadata = built.read(f"{info}/METADATA").decode()
    assert "Requires-Dist: podwire\n" in metadata


def test_the_image_is_built_without_the_lab() -> None:
    assert "src" in podwire_image.INPUTS
    assert not [name for name in podwire_image.INPUTS if name.split("/")[0] == "lab"]
    copies = re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", (ROOT / podwire_image.CONTAINERFILE).read_text())
    copied = {name for line in copies for name in line.split()}
    assert "src" in copied and "lab" not in copied and "." not in copied


def podwire_without_the_lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`podwire` in a Python without site-packages, where only podwire itself can be imported."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); from podwire.cli.main import main; sys.exit(main())"
    )
    argv = [sys.executable, "-S", "-c", script, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")


def test_the_verb_lab_needs_the_package_of_the_lab() -> None:
    missing = podwire_without_the_lab("lab", "run")
    assert missing.returncode == 1 and missing.stdout == ""
    assert missing.stderr.startswith("podwire: ") and "podwire-lab" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1
    verbs = podwire_without_the_lab("--help").stdout
    assert re.search(r"(?m)^    check ", verbs) and not re.search(r"(?m)^    lab ", verbs)
    installed = subprocess.run(
        [sys.executable, "-m", "podwire.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    assert re.search(r"(?m)^    lab ", installed.stdout)
