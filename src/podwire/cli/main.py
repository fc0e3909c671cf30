"""`podwire`: which verb, and what it said wrong. Each verb is a file of its own beside this one."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys

from podwire import __version__
from podwire.cli.errors import UserError

VERBS = {
    "agent": "serve CNI calls on this node",
    "install": "put the plug-in and its configuration where the container runtime looks",
    "uninstall": "remove the plug-in, its configuration and all that podwire made in the kernel",
    "status": "show the nodes and the paths to them, and this node's pods",
    "check": "check who reaches whom, and say which hop loses what is lost",
    "lab": "build a cluster on this machine, check it, take it away",
    "version": "show podwire's version and the CNI versions it speaks",
}


def parser(chosen: str) -> argparse.ArgumentParser:
    """The command line. Only the chosen verb's file adds its options: the agent does not load what others need."""
    top = argparse.ArgumentParser(
        prog="podwire",
        description="A Kubernetes pod network: CNI plug-in, node agent, and the tools around them.",
        epilog="`podwire VERB --help` shows a verb's options. Without a verb: status.",
    )
    top.add_argument("--version", action="version", version=f"podwire {__version__}")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, words in VERBS.items():
        if importlib.util.find_spec(_module(name).partition(".")[0]) is None:
            continue
        verb = verbs.add_parser(name, help=words, description=words[0].upper() + words[1:] + ".")
        if name == chosen:
            importlib.import_module(_module(name)).add_options(verb)
    return top


def _module(verb: str) -> str:
    """The module of a verb. The lab is a package of its own, which need not be installed."""
    return "podwire_lab.cli" if verb == "lab" else f"podwire.cli.{verb}"


def main(arguments: list[str] | None = None) -> int:
    """Run `podwire`; the exit status. 1: refused, with one line on stderr; 2: unusable arguments."""
    words = sys.argv[1:] if arguments is None else arguments
    verb = next((word for word in words if not word.startswith("-")), "status")
    options = parser(verb).parse_args(words or [verb])
    module = importlib.import_module(_module(verb))
    try:
        status: int = module.run(options)
    except UserError as wrong:
        print(f"podwire: {wrong}", file=sys.stderr)
        return 1
    except PermissionError as wrong:
        print(f"podwire: {wrong.filename or 'the kernel'}: permission denied: run it as root", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
