"""`podwire agent`: serve CNI calls until SIGTERM."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError
from podwire.cli.install import SOCKET


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--socket", type=Path, default=SOCKET, metavar="PATH", help="where to serve (default: %(default)s)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="this node's settings: its ranges, its peers (TOML; read again on change)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve; the exit status."""
    from podwire.agent import run as agent
    from podwire.agent.installation import InstallationError
    from podwire.agent.server import SocketInUseError
    from podwire.agent.settings_file import SettingsFileError
    from podwire.kernel.apply import KernelRefusedError
    from podwire.kernel.nftables import NftablesError

    file = options.config.absolute() if options.config else None
    try:
        agent.run(options.socket, file)
    except (SocketInUseError, SettingsFileError, InstallationError, KernelRefusedError, NftablesError) as wrong:
        raise UserError(str(wrong)) from None
    except PermissionError:
        raise
    except OSError as refused:
        raise UserError(f"{options.socket} cannot be served: {refused.strerror}: choose another --socket") from None
    return 0
