# SPDX-License-Identifier: Apache-2.0
"""`podwire version`: prints podwire's version and the CNI versions that it supports."""

from __future__ import annotations

import argparse

from podwire import __version__
from podwire.cni.versions import SUPPORTED


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb has no options."""


def run(options: argparse.Namespace) -> int:
    """Print the versions; returns the exit status."""
    print(f"podwire {__version__} (CNI {', '.join(SUPPORTED)})")
    return 0
