# SPDX-License-Identifier: Apache-2.0
"""Runs tests on another kernel by hand: `.venv/bin/python -m tests.kernels.run 6.1 [pytest's arguments]`."""

from __future__ import annotations

import sys

from tests.kernels.debian import KERNELS
from tests.kernels.guest import boot

TOPICS = ("objects", "reach", "templates", "restoring", "ends", "leases", "kills", "sctp")
CHOSEN = (
    *(f"tests/namespaces/test_{topic}.py" for topic in TOPICS),
    "-k",
    "not vanished and not ((test_objects or test_reach) and (oneshot or ipv4 or ipv6))",
)
"""One pod's life on one node, from ADD to DEL, without the tests of hundreds of pods. A dual stack stands for its
halves, the agent for both paths (the kills have both): every test takes seconds in a guest."""


def main() -> int:
    """Boot, show the console as it runs, and say what came of it."""
    series, *arguments = sys.argv[1:] or [""]
    if series not in KERNELS:
        sys.stderr.write(f"usage: python -m tests.kernels.run {'|'.join(KERNELS)} [pytest's arguments]\n")
        return 2
    outcome = boot(series, arguments or CHOSEN, echo=True)
    sys.stdout.write(outcome.summary() + "\n")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
