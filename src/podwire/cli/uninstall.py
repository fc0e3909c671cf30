"""`podwire uninstall`: remove the configuration, the plug-in, and everything that podwire made in the kernel."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError
from podwire.cli.install import SOCKET, add_folder_options


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_folder_options(parser)
    parser.add_argument(
        "--socket",
        type=Path,
        default=SOCKET,
        metavar="PATH",
        help="the agent's, which must have ended (default: %(default)s)",
    )
    parser.add_argument(
        "--keep-kernel", action="store_true", help="remove the files alone; pods and the host's part stay wired"
    )


def run(options: argparse.Namespace) -> int:
    """Uninstall; the exit status, 1 if something of podwire's is left."""
    from podwire.agent.server import SocketInUseError, check_unused
    from podwire.install import files as installation
    from podwire.install import removal

    try:
        if not options.keep_kernel:
            check_unused(options.socket)
        for line in installation.uninstall(options.bin_dir, options.conf_dir):
            print(line)
        if options.keep_kernel:
            return 0
        for line in removal.remove():
            print(line)
        left = removal.remains()
    except (installation.InstallationError, removal.RemovalError, SocketInUseError) as wrong:
        raise UserError(str(wrong)) from None
    if left:
        raise UserError(f"still there: {', '.join(left)}: stop what makes them anew and run uninstall again")
    print("nothing of podwire is left in the kernel")
    return 0
