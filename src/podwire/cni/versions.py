# SPDX-License-Identifier: Apache-2.0
"""The versions of the specification, and the verbs of each."""

from __future__ import annotations

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST = SUPPORTED[-1]

VERBS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
FIRST_VERSION = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""The first version that has a verb; the other verbs are in all versions."""

REQUIRED_VARIABLES = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
    "VERSION": (),
}
"""Environment variables that a verb requires (section 2: Parameters)."""


def at_least(version: str, other: str) -> bool:
    """Is supported `version` the same as `other` or newer?"""
    return SUPPORTED.index(version) >= SUPPORTED.index(other)


def knows_verb(version: str, verb: str) -> bool:
    """Does this version of the specification have this verb?"""
    return at_least(version, FIRST_VERSION.get(verb, SUPPORTED[0]))
