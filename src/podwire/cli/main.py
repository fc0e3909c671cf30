# SPDX-License-Identifier: Apache-2.0
"""`podwire`: the command line. Each verb is a file beside this one; the lab's verb is in the package podwire_lab."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys

from podwire import __version__
from podwire.cli.errors import UserError

VERBS = {
    "agent": "serve CNI calls on this node",
    "install": "install the plugin and its configuration for the container runtime",
    "uninstall": "remove the plugin, its configuration and everything that podwire added to the kernel",
    "status": "show the nodes, the paths to them and this node's pods",
    "check": "check connectivity between pods, and show the hop and the cause of each loss",
    "lab": "build a cluster on this machine, check it, remove it",
    "version": "show podwire's version and the CNI versions that it supports",
}
LAB_MISSING = "`podwire lab` needs the package podwire-lab: install it with pip, or run `make build` in a checkout"


class _HelpFormatter(argparse.HelpFormatter):
    """The base class finds the terminal's width with shutil, which would stay in the agent's memory (0.4 MiB)."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns)
        except (OSError, ValueError):
            columns = 0
        super().__init__(prog, width=(columns or 80) - 2)


def parser(chosen: str) -> argparse.ArgumentParser:
    """The parser of the command line. Only the chosen verb's file is loaded and adds its options."""
    top = argparse.ArgumentParser(
        prog="podwire",
        description="A Kubernetes pod network: CNI plugin, node agent and tools.",
        epilog="`podwire VERB --help` shows a verb's options. Without a verb: status.",
        formatter_class=_HelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"podwire {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, words in VERBS.items():
        if name == "lab" and not lab_is_installed():
            continue
        description = words[0].upper() + words[1:] + "."
        verb = verbs.add_parser(name, help=words, description=description, formatter_class=_HelpFormatter)
        if name == chosen:
            importlib.import_module(_module(name)).add_options(verb)
    return top


def lab_is_installed() -> bool:
    """Whether the package podwire-lab is installed."""
    return importlib.util.find_spec("podwire_lab") is not None


def _module(verb: str) -> str:
    return "podwire_lab.cli" if verb == "lab" else f"podwire.cli.{verb}"


def main(arguments: list[str] | None = None) -> int:
    """Run `podwire`; returns the exit status: 1 after an error of one line on stderr, 2 for wrong arguments."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = next((word for word in words if not word.startswith("-")), "status")
    if chosen == "lab" and not lab_is_installed():
        print(f"podwire: {LAB_MISSING}", file=sys.stderr)
        return 1
    options = parser(chosen).parse_args(words or [chosen])
    module = importlib.import_module(_module(chosen))
    try:
        status: int = module.run(options)
    except UserError as error:
        print(f"podwire: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"podwire: {error.filename or 'the kernel'}: permission denied: run it as root", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
