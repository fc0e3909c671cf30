# SPDX-License-Identifier: Apache-2.0
"""`podwire uninstall`: removes the configuration, the plugin and everything that podwire added to the kernel."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError
from podwire.cli.install import SOCKET, add_folder_options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_folder_options(parser)
    add = parser.add_argument
    words = "the agent's socket; the agent must have stopped (default: %(default)s)"
    add("--socket", type=Path, default=SOCKET, metavar="PATH", help=words)
    words = "remove only the files; pods and the host keep their interfaces, routes and rules"
    add("--keep-kernel", action="store_true", help=words)


def run(options: argparse.Namespace) -> int:
    """Uninstall; returns the exit status, 1 if something of podwire remains."""
    from podwire.agent.server import SocketInUseError, check_unused
    from podwire.install import files as installation
    from podwire.install import removal
    from podwire.install.errors import InstallationError

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
    except (InstallationError, SocketInUseError) as error:
        raise UserError(str(error)) from None
    if left:
        raise UserError(
            f"still there: {', '.join(left)}: stop the process that adds them again, then run uninstall again"
        )
    print("nothing of podwire is left in the kernel")
    return 0
