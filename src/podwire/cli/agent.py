"""`podwire agent`: serve CNI calls until SIGTERM."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError

DEFAULT_SOCKET = Path("/run/podwire/agent.sock")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--socket", type=Path, default=DEFAULT_SOCKET, metavar="PATH", help="where to serve (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Serve; the exit status."""
    from podwire.agent import run as agent
    from podwire.agent.server import SocketInUseError

    try:
        agent.run(options.socket)
    except SocketInUseError as used:
        raise UserError(str(used)) from None
    except PermissionError:
        raise
    except OSError as refused:
        raise UserError(f"{options.socket} cannot be served: {refused.strerror}: choose another --socket") from None
    return 0
