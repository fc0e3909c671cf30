"""`podwire install`: the plug-in under its names, then its configuration, each whole or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")
SOCKET = Path("/run/podwire/agent.sock")
DEFAULTS: dict[str, str | None] = {"name": "podwire", "mode": "routed", "subnet": "10.244.0.0/24", "network": None}
"""Of the options that say what is in the configuration."""


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
    parser.add_argument(
        "--kubernetes",
        action="store_true",
        help="for an agent that runs in a pod: the plug-in alone, since that agent writes the configuration",
    )
    parser.add_argument("--name", default=DEFAULTS["name"], help="the network's name (default: %(default)s)")
    parser.add_argument(
        "--mode",
        choices=("routed", "bridge"),
        default=DEFAULTS["mode"],
        help="a route for every pod, or a bridge for all (default: %(default)s)",
    )
    parser.add_argument(
        "--subnet",
        default=DEFAULTS["subnet"],
        metavar="RANGE[,RANGE]",
        help="this node's pod addresses (default: %(default)s)",
    )
    parser.add_argument(
        "--network",
        default=DEFAULTS["network"],
        metavar="RANGE[,RANGE]",
        help="the cluster's pod addresses, never masqueraded (default: 10.244.0.0/16 if it holds the subnet)",
    )


def run(options: argparse.Namespace) -> int:
    """Install; the exit status."""
    from podwire.install import files as installation

    given = [name for name, default in DEFAULTS.items() if getattr(options, name) != default]
    if options.kubernetes and given:
        raise UserError(f"--{given[0]} has no meaning with --kubernetes: it belongs into the agent's file")
    try:
        if options.kubernetes:
            done = installation.install_for_pod(options.bin_dir, options.conf_dir)
        else:
            text = installation.configuration(options.name, options.mode, options.subnet, options.network)
            done = installation.install(options.bin_dir, options.conf_dir, text)
        for line in done:
            print(line)
    except installation.InstallationError as wrong:
        raise UserError(str(wrong)) from None
    return 0
