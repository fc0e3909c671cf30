# SPDX-License-Identifier: Apache-2.0
"""HTTP as tests ask for it: one GET from inside a namespace, and Prometheus' text taken apart."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.namespace import Namespace, wait_until

ASK = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], method=sys.argv[2])
try:
    answer = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30)
except urllib.error.HTTPError as refused:
    answer = refused
except OSError as refused:
    print(0, refused)
    sys.exit()
print(answer.status)
sys.stdout.write(answer.read().decode())
"""
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """An answer: its status (0: none came) and its text."""

    status: int
    text: str


def get(namespace: Namespace, url: str, method: str = "GET") -> Page:
    """Ask from inside the namespace."""
    done: subprocess.CompletedProcess[str] = namespace.run(sys.executable, "-c", ASK, url, method)
    head, _, text = done.stdout.partition("\n")
    status, _, words = head.partition(" ")
    return Page(int(status), words or text)


def served_at(log: Path, start: int = 1) -> str:
    """Where an agent says that it serves, at its first or a later start with HTTP. A thread writes its log."""
    found: list[str] = []

    def told() -> bool:
        found[:] = re.findall(r"metrics and health at (\S+)\n", log.read_text())
        return len(found) >= start

    assert wait_until(told), log.read_text()
    return found[start - 1]


def samples(text: str) -> dict[str, dict[Labels, float]]:
    """All samples of a page of metrics: values by name and labels. Raises ValueError for what is no such page."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**of: str) -> Labels:
    """Labels as `samples` has them."""
    return frozenset(of.items())
