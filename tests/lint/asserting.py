"""The functions that assert on behalf of a test, and what is never empty. One list for all tests.

`assertions` finds what a test's own file defines by itself: here stand only names that come from other files. It checks
this list as well: each name of `ASSERTING` and `FILLED` is defined somewhere in tests/, and each definition can fail.
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

NAMING = frozenset({"refused"})
"""Those that only say that something failed, unless they are told the codes or what they return is looked at."""

FILLED = frozenset({"ips"})
"""Functions that assert that what they return is not empty."""

GIVEN = frozenset({"addresses", "cidrs", "families", "gateways", "links", "networks", "nodes", "pods", "seen_node"})
"""Attributes, methods and fixtures that are filled where they are made: in a table of the tests, by the kernel (`lo` is
a link of every namespace), or by `added`, which asserts it."""

ANSWERING = frozenset({"wait_until"})
"""Functions of tests/ that only answer whether something is so. A call that drops the answer checks nothing."""
