# SPDX-License-Identifier: Apache-2.0
"""Refuse words that a network engineer does not know: `python -m tests.lint.words`, a part of `make lint`.

`TERMS` has words and phrases that podwire once used in a meaning of its own, each with the standard term. Identifiers
count as words: `_` separates words, and so does a change of case. Names of files are read as well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("src", "lab", "shim", "docs", "deploy", ".github", "README.md", "CONTRIBUTING.md", "SECURITY.md")
OTHERS = ("bench", "tests", "CHANGELOG.md", "Makefile", "hatch_build.py", "pyproject.toml", ".ci")
SUFFIXES = {".py", ".md", ".c", ".h", ".yaml", ".yml", ".toml", ".txt", ".tpl", ".json", ".sh", ""}
BEFORE, AFTER = r"(?<![a-zA-Z])", r"(?![a-zA-Z])"
RELEASE = re.compile(r"^## \d", re.MULTILINE)


@dataclass(frozen=True)
class Term:
    """A forbidden word or phrase: a regular expression, and the term to use. Case counts if it has a capital letter.

    A blank in it stands for a blank, a hyphen or an underscore. `product`: only in PRODUCT.
    """

    forbidden: str
    instead: str
    product: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds it as a whole word, in text and in identifiers."""
        text = self.forbidden.replace(" ", r"[\s_-]+")
        after = AFTER if self.forbidden[-1].isalpha() or self.forbidden[-1] in ")?" else ""
        return re.compile(BEFORE + text + after, 0 if re.search("[A-Z]", self.forbidden) else re.IGNORECASE)


@dataclass(frozen=True)
class Allowed:
    """Lines that may have a forbidden word: in files that match `path`, where the word is found by `word`."""

    path: str
    word: str
    reason: str


TERMS = (
    Term(r"plug-ins?", "plugin"),
    Term(r"rooms", "packages"),
    Term(r"mend(?:s|ed|er|ers|ing)?", "restore, reconciler"),
    Term(r"laps?", "phase timings"),
    Term(r"departures?", "link deleter"),
    Term(r"imaginary", "sample"),
    Term(r"blanked", "derived template"),
    Term(r"UnexplainedError", "TemplateError"),
    Term(r"stencils?", "message template"),
    Term(r"(?:short|ordinary) way", "ADD template, general ADD"),
    Term(r"fast ?path", "ADD template"),
    Term(r"FastPath", "AddTemplate"),
    Term(r"quiet6", "addrgenmode none"),
    Term(r"give birth", "create"),
    Term(r"born", "created, initial"),
    Term(r"laconic", "without extended ack"),
    Term(r"breathes?", "yield"),
    Term(r"def shape\(", "apply bandwidth"),
    Term(r"Host ?Part", "gateway"),
    Term(r"host part", "gateway"),
    Term(r"raises? `?lo", "bring lo up"),
    Term(r"Claims", "Allocation, HostPorts"),
    Term(r"(?:go|goes|gone|going|went) round", "round-robin"),
    Term(r"settle\(", "validate", product=True),
    Term(r"(?:pod|cluster) ranges", "pod CIDRs, cluster CIDRs"),
    Term(r"clusterRanges", "clusterCIDRs"),
    Term(r"PodRange\w*", "PodCIDR…"),
    Term(r"Follower", "informer"),
    Term(r"Picture", "cache"),
    Term(r"Facts?", "NodeInfo, NetworkState"),
    Term(r"problems are\(", "set_problems"),
    Term(r"happened\(", "record_event"),
    Term(r"Questions?\(", "StatusService, query"),
    Term(r"why dead", "liveness error"),
    Term(r"troubles?", "error"),
    Term(r"in_force", "applied"),
    Term(r"news", "changes"),
    Term(r"leftovers?", "orphans"),
    Term(r"Crew", "thread pool"),
    Term(r"Places", "namespaces"),
    Term(r"sightings?", "captured packet"),
    Term(r"Gap", "DropPoint"),
    Term(r"complaints", "ICMP errors", product=True),
    Term(r"Asking", "probe runner"),
    Term(r"Wish", "LabSpec"),
    Term(r"Order\(", "BuildRequest"),
    Term(r"Supply", "image set"),
    Term(r"furnish(?:es|ed)?", "set up the root file system"),
    Term(r"leave the machine", "enter namespaces"),
    Term(r"in a way nobody foresaw", "internal error"),
    Term(r"without a word", "no error message"),
    Term(r"no news of", "watch failed"),
    Term(r"at one thing for", "stuck for"),
    Term(r"(?:brought|bring|brings) (?:\w+ )*?about", "set up"),
    Term(r"who reaches whom", "connectivity between pods"),
    Term(r"nodes have in common", "settings of the whole cluster"),
    Term(r"look(?:s|ed)? after", "keeps"),
    Term(r"bears? it as a name", "is named"),
    Term(r"(?:lead|leads|led) nowhere", "no route, fails"),
    Term(r"now and then", "N of M packets lost"),
    Term(r"pains?", "failure modes"),
    Term(r"unaided", "without agent"),
    Term(r"for one in", "for link in, for route in: the thing's own name"),
    Term(r"(?:some|any)body(?: else)?(?:'s)?", "who it is: a user, another program", product=True),
    Term(r"whose it is", "owner", product=True),
    Term(r"meanwhile", "at the same time, until then", product=True),
)

ALLOWED = (
    Allowed("tests/lint/words.py", ".*", "the list itself"),
    Allowed("tests/pure/test_lint_words.py", ".*", "the list's test"),
    Allowed("tests/tools/cni/go.mod", "plug-ins?", "a changed comment would build all Go tools again"),
    Allowed(
        "CHANGELOG.md",
        "mended|Pod ?Range.*|cluster.?[rR]anges|pod_ranges|fastpath|news|no news of",
        "0.2.0 names what it renamed",
    ),
    Allowed("bench/*", "(pod|cluster)_ranges", "bench --before runs podwire 0.1, which has only the old keys"),
    Allowed("docs/configuration.md", "(pod|cluster)_ranges", "the deprecated keys are documented"),
    Allowed("docs/kubernetes.md", "clusterRanges", "the deprecated value is documented"),
    Allowed("deploy/helm/*", "clusterRanges", "the deprecated value is accepted"),
    Allowed("tests/runtimes/test_chart.py", "clusterRanges", "the deprecated value is tested"),
    Allowed("src/podwire/node/settings_file.py", "(pod|cluster)_ranges", "the deprecated keys are accepted"),
    Allowed("tests/pure/test_settings.py", "(pod|cluster)_ranges", "the deprecated keys are tested"),
    Allowed("tests/pure/test_kube.py", "cluster_ranges", "the deprecated key is tested"),
    Allowed("tests/pure/test_kube_source.py", "cluster_ranges", "the deprecated key is tested"),
)


@dataclass(frozen=True)
class Hit:
    """A forbidden word at a line (0: in the file's name)."""

    path: str
    line: int
    word: str
    term: Term

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}: use {self.term.instead}"


def text_of(path: Path) -> str:
    """The text that is judged: of the changelog not the sections of earlier versions."""
    text = path.read_text(encoding="utf-8")
    if path.name == "CHANGELOG.md" and len(releases := [found.start() for found in RELEASE.finditer(text)]) > 1:
        return text[: releases[1]]
    return text


def hits_in(name: str, text: str, terms: Sequence[Term] = TERMS) -> Iterator[Hit]:
    """The forbidden words of one file with this name (relative to the root) and text."""
    product = name.startswith(PRODUCT)
    for term in terms:
        if term.product and not product:
            continue
        if found := term.pattern.search(name):
            yield Hit(name, 0, found[0], term)
        for found in term.pattern.finditer(text):
            yield Hit(name, text.count("\n", 0, found.start()) + 1, found[0], term)


def files(root: Path = ROOT) -> Iterator[Path]:
    """Every file that is read."""
    for top in (*PRODUCT, *OTHERS):
        paths = [root / top] if (root / top).is_file() else sorted((root / top).rglob("*"))
        yield from (
            path
            for path in paths
            if path.is_file()
            and (path.suffix in SUFFIXES or path.name == "go.mod")
            and not {"native", "__pycache__", "results"} & set(path.parts)
        )


def allows(allowed: Allowed, hit: Hit) -> bool:
    """Is the hit one of those that are allowed?"""
    return fnmatch(hit.path, allowed.path) and re.fullmatch(allowed.word, hit.word) is not None


def judge(hits: Sequence[Hit], allowed: Sequence[Allowed] = ALLOWED) -> list[str]:
    """The faults: hits that nothing allows, and entries of the list that allow nothing."""
    faults = [str(hit) for hit in hits if not any(allows(entry, hit) for entry in allowed)]
    unused = [entry for entry in allowed if not any(allows(entry, hit) for hit in hits)]
    return faults + [f"tests/lint/words.py: nothing in {entry.path} needs {entry.word!r} allowed" for entry in unused]


def main() -> int:
    """Print the faults of the tree, `path:line: word: use term`; 1 if there are any."""
    hits = [hit for path in files() for hit in hits_in(str(path.relative_to(ROOT)), text_of(path))]
    faults = judge(sorted(hits, key=lambda hit: (hit.path, hit.line)))
    print("\n".join(faults) if faults else "every word is a standard term")  # noqa: T201
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
