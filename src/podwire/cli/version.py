"""`podwire version`: what this is and which CNI versions it speaks."""

from __future__ import annotations

import argparse

from podwire import __version__
from podwire.cni.versions import SUPPORTED


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb has none."""


def run(options: argparse.Namespace) -> int:
    """Print; the exit status."""
    print(f"podwire {__version__} (CNI {', '.join(SUPPORTED)})")
    return 0
