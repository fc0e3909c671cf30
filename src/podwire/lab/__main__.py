"""`python -m podwire.lab`: the demonstration."""

from __future__ import annotations

import argparse
import sys

from podwire.lab import demo

parser = argparse.ArgumentParser(prog="podwire.lab", description=demo.__doc__)
parser.add_argument("--mode", choices=("routed", "bridge"), default="routed", help="how pods are wired")
sys.exit(demo.run(parser.parse_args().mode))
