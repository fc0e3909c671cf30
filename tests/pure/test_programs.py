# SPDX-License-Identifier: Apache-2.0
"""Every program that is called by name is installed by the target that needs it: the Makefile's lists have its package.

Found are the words in the place of a program: the first argument of what runs or looks up a program, the first word
of a list or a tuple that has an option, and the word after `--`. Each must be in the table of packages. The first word
of any other list counts if it is in the table. What is not seen, such as a program that a script names within a
string, is found by `make fresh`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from podwire.cli.main import VERBS
from podwire_lab import programs
from tests.tools import build
from tests.tools.packages import BASE, PACKAGES

ROOT = Path(__file__).parents[2]
RUNNERS = {"Popen", "_run", "check_output", "programs.find", "run", "which"}
NAME = re.compile(r"[a-z][a-z0-9_.+-]*")

OWN = {
    *(program for module in build.ALL for program in module.programs),
    *("go", "mypy", "pip", "podwire", "pytest", "python", "ruff"),
}
"""What the targets build, or install with pip."""

KEYWORDS = {"[", "!", "cd", "do", "done", "else", "exec", "export", "fi", "for", "if", "set", "then", "{"}
"""Words of the shell itself."""

ARGUMENTS = {*VERBS, "exec", "up"}
"""First words of lists with options that are no programs: podwire's verbs, the lab's, the shell's."""

LAB_HOSTS = re.compile(r"(\w+-)?(master|worker-\d|one|two|first|second)")

FOLDERS = ("bench", "lab", "src", "tests")
TARGETS = (
    ("lab/src/podwire_lab/podwire_image.py", "image"),
    ("lab/src/podwire_lab/images.py", "tools"),  # podman: for `podwire lab up --image` alone
    ("lab/src/podwire_lab/kubernetes/", "cluster"),
    ("lab/src/podwire_lab/", "lab"),
    ("src/", "build"),
    ("hatch_build.py", "build"),
    ("bench/", "bench"),
    ("tests/kernels/", "kernels"),
    ("tests/cluster/", "e2e"),
    ("tests/fresh/", "fresh"),
    ("tests/", "test"),
)
"""By the beginning of a file's path, the target that needs what the file calls."""


@dataclass(frozen=True)
class Call:
    """A word in the place of a program."""

    where: str
    program: str
    certain: bool


def calls(source: str, where: str) -> Iterator[Call]:
    """The programs that a Python source calls by name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            names = {getattr(node.func, "attr", ""), ast.unparse(node.func)}
            found = [(word, True) for word in _first(node.args) if names & RUNNERS]
            words: list[ast.expr] = node.args
        elif isinstance(node, ast.List | ast.Tuple):
            words = node.elts
            found = [(word, any(map(_is_option, words))) for word in _first(words)]
        else:
            continue
        for before, after in pairwise(words):
            if isinstance(before, ast.Constant) and before.value == "--":
                found += [(word, True) for word in _first([after])]
        for word, certain in found:
            yield Call(f"{where}:{node.lineno}", word, certain)


def _is_option(word: ast.expr) -> bool:
    return isinstance(word, ast.Constant) and isinstance(word.value, str) and re.match(r"--?\w", word.value) is not None


def _first(words: list[ast.expr]) -> Iterator[str]:
    while words and isinstance(words[0], ast.Starred) and isinstance(words[0].value, ast.List | ast.Tuple):
        words = words[0].value.elts
    word = words[0].value if words and isinstance(words[0], ast.Constant) else None
    if isinstance(word, str) and NAME.fullmatch(word):
        yield word


def unknown(found: Iterable[Call]) -> list[Call]:
    """The calls of programs whose package nobody has named."""
    return [
        call
        for call in found
        if call.program not in PACKAGES
        and call.program not in OWN
        and call.program not in ARGUMENTS
        and not LAB_HOSTS.fullmatch(call.program)
        and call.certain
    ]


def sources() -> dict[str, str]:
    """The Python sources, by their paths in the checkout; without those that only tell of programs."""
    telling = {Path(__file__), ROOT / "tests" / "tools" / "packages.py"}
    files = [ROOT / "hatch_build.py", *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))]
    return {str(file.relative_to(ROOT)): file.read_text() for file in files if file not in telling}


@cache
def installed_by(target: str) -> frozenset[str]:
    """The packages that a target and those before it install, as make itself says."""
    argv = ["make", "--dry-run", "--always-make", "--no-print-directory", target]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    lists = re.findall(r"for package in ([^;]*);", said.stdout)
    assert lists, f"make {target} installs nothing: {said.stdout}"
    return frozenset(" ".join(lists).split())


def not_installed(found: Iterable[Call], target: str) -> list[str]:
    """The calls of programs whose package the target does not install."""
    there = BASE | installed_by(target)
    return [
        f"{call.where}: {call.program} is in {PACKAGES[call.program]}, which `make {target}` does not install"
        for call in found
        if call.program in PACKAGES and PACKAGES[call.program] not in there
    ]


def target_of(path: str) -> str:
    """The target that needs what a file calls."""
    return next(target for beginning, target in TARGETS if path.startswith(beginning))


def test_every_program_has_a_package() -> None:
    assert [call for path, source in sources().items() for call in unknown(calls(source, path))] == []


def test_the_target_that_needs_a_program_installs_it() -> None:
    wrong = [line for path, source in sources().items() for line in not_installed(calls(source, path), target_of(path))]
    assert wrong == []


def test_a_program_that_nobody_installs_is_found() -> None:
    planted = """
host.run("conntrack", "-L")
run(["nsenter", "--target=1", "--", "nobody-has-this", "-n"])
subprocess.run(argv := ("qemu-system-x86_64", "-m", "1G"))
shutil.which("nor-this")
"""
    found = list(calls(planted, "planted"))
    assert {call.program for call in unknown(found)} == {"nobody-has-this", "nor-this"}
    missing = [line.split()[1] for line in not_installed(found, "build")]
    assert missing == ["conntrack", "qemu-system-x86_64"]  # nsenter is in Debian's base system


def test_the_lab_names_the_same_packages() -> None:
    for program, package in programs._PACKAGES.items():
        assert PACKAGES[program] == package


def commands(shell: str) -> Iterator[str]:
    """The programs that lines of shell begin with, and those after `|`, `;`, `&&`, `$(` and `--`."""
    shell = re.sub(r"(?m)(^|\s)#.*$", " ", shell.replace("\\\n", " "))
    shell = re.sub(r"\bfor \w+ in [^;]*", " ", shell)
    for part in re.split(r"\n|[;|{}]|&&|\$\(|\s--\s", shell):
        words = [word for word in part.split() if "=" not in word and word not in KEYWORDS]
        if words and NAME.fullmatch(words[0]):
            yield words[0]


def recipes(makefile: str) -> str:
    """The lines of shell of a Makefile, without what calls its own functions."""
    lines = re.findall(r"(?m)^(?:\t@?|@)((?:.*\\\n)*.*)$", makefile)
    return "\n".join(line for line in lines if not line.startswith("$("))


def build_steps(containerfile: str) -> str:
    """The lines of shell of a Containerfile."""
    return "\n".join(re.findall(r"(?m)^RUN ((?:.*\\\n)*.*)$", containerfile))


def console_blocks(page: str) -> str:
    """The commands of a document: whole `sh` blocks, and the lines of `console` blocks that have a prompt."""
    lines = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        lines += re.findall(r"(?m)^[$#] (.*)$", block)
    return "\n".join(lines)


def test_what_documents_recipes_and_the_image_call_is_installed() -> None:
    shell: dict[str, tuple[Callable[[str], str], str]] = {
        "Makefile": (recipes, "build"),
        "deploy/Containerfile": (build_steps, "image"),
        ".ci/run": (str, "build"),
        "README.md": (console_blocks, "lab"),
        **{str(page.relative_to(ROOT)): (console_blocks, "lab") for page in (ROOT / "docs").rglob("*.md")},
    }
    called = [
        (path, program, target)
        for path, (part, target) in shell.items()
        for program in sorted(set(commands(part((ROOT / path).read_text()))) - OWN)
    ]
    assert {"apt-get", "ip", "make", "python3", "sed", "tcpdump"} <= {program for _, program, _ in called}
    wrong = [
        f"{path}: {program}"
        for path, program, target in called
        if PACKAGES.get(program) not in BASE | installed_by(target) | installed_by("image")
    ]
    assert wrong == []
