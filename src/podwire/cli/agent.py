# SPDX-License-Identifier: Apache-2.0
"""`podwire agent`: serve CNI calls until SIGTERM."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from podwire.cli.errors import UserError
from podwire.cli.install import SOCKET

if TYPE_CHECKING:
    from podwire.node.source import Source
    from podwire.observe.log import AgentLog


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add = parser.add_argument
    add("--socket", type=Path, default=SOCKET, metavar="PATH", help="the socket to serve (default: %(default)s)")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="this node's settings: its pod CIDRs, its peers (TOML; read again on change); "
        "with --kubernetes the settings of the whole cluster",
    )
    add("--kubernetes", action="store_true", help="read this node's pod CIDRs and its peers from the cluster's Nodes")
    add("--node-name", metavar="NAME", help="the name of this node's Node (default: $NODE_NAME, else the host name)")
    words = "how to connect to the API server (default: the pod's service account, else $KUBECONFIG)"
    add("--kubeconfig", type=Path, metavar="FILE", help=words)
    words = "serve /metrics, /healthz and /readyz there, for example 127.0.0.1:19412 (default: not served)"
    add("--http", metavar="ADDRESS:PORT", help=words)
    words = "the format of the log on standard error: text, or a JSON object per line (default: text)"
    add("--log-format", choices=("text", "json"), default="text", help=words)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM; returns the exit status."""
    from podwire.agent import run as agent
    from podwire.agent.server import SocketInUseError
    from podwire.install.errors import InstallationError
    from podwire.netlink.apply import KernelRefusedError
    from podwire.nft.library import NftablesError
    from podwire.node.settings import SettingsFileError
    from podwire.observe.log import AgentLog

    log = AgentLog(form=options.log_format)
    try:
        web = _web_address(options.http)
        if options.kubernetes:
            source, conf_dir = _kubernetes(options, log)
            agent.run(options.socket, source, log, conf_dir, web)
        else:
            agent.run(options.socket, _file(options, log), log, web=web)
    except agent.WebError as error:
        raise UserError(f"--http {options.http}: {error}") from None
    except (SocketInUseError, SettingsFileError, InstallationError, KernelRefusedError, NftablesError) as error:
        raise UserError(str(error)) from None
    except PermissionError:
        raise
    except OSError as refused:
        raise UserError(f"{options.socket} cannot be served: {refused.strerror}: choose another --socket") from None
    return 0


def _web_address(text: str | None) -> tuple[str, int] | None:
    """The address for HTTP. Raises UserError for a wrong address or if prometheus_client is missing."""
    if text is None:
        return None
    from importlib.util import find_spec
    from ipaddress import ip_address

    if find_spec("prometheus_client") is None:
        raise UserError("--http needs prometheus_client: pip install 'podwire[metrics]'")
    host, colon, port = text.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    try:
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        address = ip_address(bare)
    except ValueError:
        number = -1
    if not colon or not 0 <= number < 2**16 or (address.version == 6) != host.startswith("["):
        raise UserError(f"--http {text}: is not ADDRESS:PORT: write for example 127.0.0.1:19412 or [::1]:19412")
    return str(address), number


def _file(options: argparse.Namespace, log: AgentLog) -> Source | None:
    """The settings source for --config; None without it."""
    if options.node_name or options.kubeconfig:
        raise UserError("--node-name and --kubeconfig need --kubernetes: add it")
    if options.config is None:
        return None
    from podwire.node.file_source import FileSource

    return FileSource(options.config.absolute(), log)


def _kubernetes(options: argparse.Namespace, log: AgentLog) -> tuple[Source, Path]:
    """The settings source for --kubernetes, and the folder of the runtime's network configuration."""
    try:
        from podwire.kube.client import KubernetesConfigError
    except ImportError as missing:
        raise UserError(f"--kubernetes needs {missing.name}: pip install 'podwire[kubernetes]'") from None
    from podwire.kube.source import KubernetesSource

    name = options.node_name or os.environ.get("NODE_NAME") or socket.gethostname().lower()
    file = options.config.absolute() if options.config else None
    try:
        source = KubernetesSource(name, file, options.kubeconfig, log)
        return source, Path(source.cluster.cni.conf_dir)
    except KubernetesConfigError as error:
        raise UserError(str(error)) from None
