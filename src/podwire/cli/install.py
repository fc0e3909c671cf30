# SPDX-License-Identifier: Apache-2.0
"""`podwire install`: installs the plugin under its names, then its configuration; each file is replaced atomically."""

from __future__ import annotations

import argparse
from pathlib import Path

from podwire.cli.errors import UserError

BIN_DIR = Path("/opt/cni/bin")
CONF_DIR = Path("/etc/cni/net.d")
SOCKET = Path("/run/podwire/agent.sock")
DEFAULTS: dict[str, str | None] = {"name": "podwire", "mode": "routed", "subnet": "10.244.0.0/24", "network": None}
"""Defaults of the options that set the content of the configuration."""


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that install and uninstall share."""
    add = parser.add_argument
    add("--bin-dir", type=Path, default=BIN_DIR, metavar="DIR", help="the runtime's plugins (default: %(default)s)")
    words = "the runtime's network configurations (default: %(default)s)"
    add("--conf-dir", type=Path, default=CONF_DIR, metavar="DIR", help=words)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    from podwire.datapath.modes import DATAPATHS

    add_folder_options(parser)
    add = parser.add_argument
    words = "for an agent in a pod: install only the plugin; that agent writes the configuration"
    add("--kubernetes", action="store_true", help=words)
    add("--name", default=DEFAULTS["name"], help="the network's name (default: %(default)s)")
    words = "a route for each pod, or a bridge for all pods (default: %(default)s)"
    add("--mode", choices=tuple(DATAPATHS), default=DEFAULTS["mode"], help=words)
    words = "this node's pod CIDRs (default: %(default)s)"
    add("--subnet", default=DEFAULTS["subnet"], metavar="CIDR[,CIDR]", help=words)
    words = "the cluster's pod CIDRs, which are not masqueraded (default: 10.244.0.0/16 if it contains the subnet)"
    add("--network", default=DEFAULTS["network"], metavar="CIDR[,CIDR]", help=words)


def run(options: argparse.Namespace) -> int:
    """Install; returns the exit status."""
    from podwire.install import cni_config
    from podwire.install import files as installation
    from podwire.install.errors import InstallationError

    given = [name for name, default in DEFAULTS.items() if getattr(options, name) != default]
    if options.kubernetes and given:
        raise UserError(f"--{given[0]} has no effect with --kubernetes: set it in the agent's file")
    try:
        if options.kubernetes:
            done = installation.install_for_pod(options.bin_dir, options.conf_dir)
        else:
            text = cni_config.conflist(options.name, options.mode, options.subnet, options.network)
            done = installation.install(options.bin_dir, options.conf_dir, text)
        for line in done:
            print(line)
    except InstallationError as error:
        raise UserError(str(error)) from None
    return 0
