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
    from podwire.node.old_source import Source
    from podwire.observe.log import AgentLog


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--socket", type=Path, default=SOCKET, metavar="PATH", help="where to serve (default: %(default)s)"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="this node's settings: its ranges, its peers (TOML; read again on change); "
        "with --kubernetes what all nodes have in common",
    )
    parser.add_argument(
        "--kubernetes", action="store_true", help="this node's ranges and its peers are the cluster's Nodes"
    )
    parser.add_argument(
        "--node-name", metavar="NAME", help="this node's Node (default: $NODE_NAME, else the host's name)"
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="where the API server is (default: the pod's service account, else $KUBECONFIG)",
    )
    parser.add_argument(
        "--http",
        metavar="ADDRESS:PORT",
        help="serve /metrics, /healthz and /readyz there, as 127.0.0.1:19412 (default: nowhere)",
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="the log on standard error: for people, or one JSON object a line (default: text)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve; the exit status."""
    from podwire.agent import run as agent
    from podwire.agent.server import SocketInUseError
    from podwire.install.files import InstallationError
    from podwire.netlink.apply import KernelRefusedError
    from podwire.nft.library import NftablesError
    from podwire.node.old_settings_file import SettingsFileError
    from podwire.observe.log import AgentLog

    log = AgentLog(form=options.log_format)
    try:
        web = _web_address(options.http)
        if options.kubernetes:
            source, conf_dir = _kubernetes(options, log)
            agent.run(options.socket, source, log, conf_dir, web)
        else:
            agent.run(options.socket, _file(options, log), log, web=web)
    except agent.WebError as wrong:
        raise UserError(f"--http {options.http}: {wrong}") from None
    except (SocketInUseError, SettingsFileError, InstallationError, KernelRefusedError, NftablesError) as wrong:
        raise UserError(str(wrong)) from None
    except PermissionError:
        raise
    except OSError as refused:
        raise UserError(f"{options.socket} cannot be served: {refused.strerror}: choose another --socket") from None
    return 0


def _web_address(text: str | None) -> tuple[str, int] | None:
    """Where to serve HTTP; the library for it is looked for at once."""
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
        raise UserError(f"--http {text}: is not ADDRESS:PORT: write it like 127.0.0.1:19412 or [::1]:19412")
    return str(address), number


def _file(options: argparse.Namespace, log: AgentLog) -> Source | None:
    """The settings of a file, if there is one."""
    if options.node_name or options.kubeconfig:
        raise UserError("--node-name and --kubeconfig go with --kubernetes: add it")
    if options.config is None:
        return None
    from podwire.node.old_source import FileSource

    return FileSource(options.config.absolute(), log)


def _kubernetes(options: argparse.Namespace, log: AgentLog) -> tuple[Source, Path]:
    """The settings of the API server, and where the runtime's configuration is."""
    try:
        from podwire.kube.client import KubernetesConfigError
    except ImportError as missing:
        raise UserError(f"--kubernetes needs {missing.name}: pip install 'podwire[kubernetes]'") from None
    from podwire.kube.source import KubernetesSource

    name = options.node_name or os.environ.get("NODE_NAME") or socket.gethostname().lower()
    file = options.config.absolute() if options.config else None
    try:
        source = KubernetesSource(name, file, options.kubeconfig, log)
        return source, Path(source.common.cni.conf_dir)
    except KubernetesConfigError as wrong:
        raise UserError(str(wrong)) from None
