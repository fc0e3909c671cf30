"""`podwire install`: the plug-in under its names, then its configuration, each whole or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")
SOCKET = Path("/run/podwire/agent.sock")


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """The options that install and uninstall share."""
    parser.add_argument(
        "--bin-dir", type=Path, default=BIN_DIR, metavar="DIR", help="the runtime's plug-ins (default: %(default)s)"
    )
    parser.add_argument(
        "--conf-dir",
        type=Path,
        default=CONF_DIR,
        metavar="DIR",
        help="the runtime's network configurations (default: %(default)s)",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    add_folder_options(parser)
    parser.add_argument("--name", default="podwire", help="the network's name (default: %(default)s)")
    parser.add_argument(
        "--mode",
        choices=("routed", "bridge"),
        default="routed",
        help="a route for every pod, or a bridge for all (default: %(default)s)",
    )
    parser.add_argument(
        "--subnet",
        default="10.244.0.0/24",
        metavar="RANGE[,RANGE]",
        help="this node's pod addresses (default: %(default)s)",
    )
    parser.add_argument(
        "--network",
        default=None,
        metavar="RANGE[,RANGE]",
        help="the cluster's pod addresses, never masqueraded (default: 10.244.0.0/16 if it holds the subnet)",
    )


def run(options: argparse.Namespace) -> int:
    """Install; the exit status."""
    from podwire.agent import installation

    try:
        text = installation.configuration(options.name, options.mode, options.subnet, options.network)
        for line in installation.install(options.bin_dir, options.conf_dir, text):
            print(line)
    except installation.InstallationError as wrong:
        raise UserError(str(wrong)) from None
    return 0
