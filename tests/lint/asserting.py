# SPDX-License-Identifier: Apache-2.0
"""The functions that assert for a test, and what is never empty. One list for all tests.

Functions of a test's own file need no entry: the checker reads them. It checks this list as well: each name of
`ASSERTING` and `NONEMPTY_CALLS` is defined in a file of tests/ that has no tests, and each definition can fail.
"""

from __future__ import annotations

ASSERTING = frozenset(
    {
        "added",  # tests/conformance/node.py: an ADD that must succeed, with a result in due form
        "refused",  # an error in due form; the conformance suite's takes the codes
        "silent",  # a success without output
        "unchanged",  # the kernel's state is the same afterwards
        "assert_wired",
        "raises",  # pytest's own
    }
)

FOREIGN = frozenset({"raises"})
"""Those that tests/ does not define."""

NEEDING_A_CODE = frozenset({"refused"})
"""Those that accept any failure, unless they get a code or words, or what they return is read."""

NONEMPTY_CALLS = frozenset({"ips"})
"""Functions that assert that what they return is not empty."""

NONEMPTY_NAMES = frozenset(
    {"addresses", "cidrs", "families", "gateways", "links", "networks", "nodes", "pods", "seen_node"}
)
"""Attributes, methods and fixtures with at least one item: tables of the tests, `links` (every namespace has `lo`), and
the addresses of an attachment, which `added` asserts."""

RETURNING_BOOL = frozenset({"wait_until"})
"""Functions of tests/ that return whether something holds. A call that drops the value checks nothing."""
