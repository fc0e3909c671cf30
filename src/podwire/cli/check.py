# SPDX-License-Identifier: Apache-2.0
"""`podwire check`: checks connectivity from each pod to its host, other pods, other nodes and addresses outside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podwire.diagnose.endpoints import Endpoint
    from podwire.diagnose.report import Report

WRONG_ARGUMENTS = 2
FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add = parser.add_argument
    words = "the endpoints: pods, hosts and addresses outside, on any nodes (JSON; default: this node and its pods)"
    add("--topology", type=Path, metavar="FILE", help=words)
    words = "an address outside the cluster that pods must reach, with a port also by TCP; may be repeated"
    add("--to", action="append", default=[], metavar="ADDRESS[:PORT]", help=words)
    add("--config", type=Path, metavar="FILE", help="the agent's settings (TOML): its peers are checked as well")
    add("--family", choices=tuple(FAMILIES), default="dual", help="which addresses to check (default: %(default)s)")
    words = "how long to wait for each answer (default: %(default)s)"
    add("--timeout", type=float, default=1.5, metavar="SECONDS", help=words)
    words = "how many other pods each pod calls, spread over all pods; 0: all pods (default: %(default)s)"
    add("--pods", type=int, default=16, metavar="N", help=words)
    add("--junit", type=Path, metavar="FILE", help="also write a JUnit report")
    add("-o", "--output", choices=("table", "json"), default="table", help="output format (default: table)")


def run(options: argparse.Namespace) -> int:
    """Check; returns 0 if all probes pass, 1 if a probe fails, 2 for wrong arguments."""
    from podwire.diagnose.endpoints import EndpointError
    from podwire.diagnose.run import check
    from podwire.node.settings import SettingsFileError

    if not 0.1 <= options.timeout <= 60:
        return _wrong_arguments(f"--timeout: {options.timeout:g} is not between 0.1 and 60 seconds")
    if options.pods < 0:
        return _wrong_arguments(f"--pods: {options.pods} is less than 0: give how many other pods each pod calls")
    families, timeout = FAMILIES[options.family], options.timeout
    try:
        report = check(_endpoints(options), families=families, timeout_seconds=timeout, most_pods=options.pods)
        if options.junit:
            from podwire.diagnose.junit import junit

            options.junit.write_bytes(junit(report))
    except (EndpointError, SettingsFileError) as error:
        return _wrong_arguments(str(error))
    except OSError as refused:
        if isinstance(refused, PermissionError) or refused.filename is None:
            raise
        return _wrong_arguments(f"{refused.filename}: {refused.strerror}: name a file that can be written")
    _print(report, options.output)
    return 0 if report.ok else 1


def _endpoints(options: argparse.Namespace) -> list[Endpoint]:
    """The endpoints that the options name. Raises EndpointError, SettingsFileError."""
    from podwire.diagnose.endpoints import EndpointError, parse_target, parse_topology
    from podwire.diagnose.local_endpoints import read_endpoints
    from podwire.node.settings_file import load

    extra = [parse_target(text) for text in options.to]
    if options.topology:
        if options.config:
            raise EndpointError("--config and --topology exclude each other: the topology names the other nodes")
        try:
            return [*parse_topology(options.topology.read_bytes()), *extra]
        except EndpointError as error:
            raise EndpointError(f"{options.topology}: {error}") from None
        except OSError as refused:
            raise EndpointError(f"{options.topology}: {refused.strerror}: name a file that can be read") from None
    loaded = load(options.config) if options.config else None
    found = read_endpoints(loaded.settings, loaded.peers.values()) if loaded else read_endpoints()
    return [*found, *extra]


def _wrong_arguments(words: str) -> int:
    print(f"podwire: {words}", file=sys.stderr)
    return WRONG_ARGUMENTS


def _print(report: Report, output: str) -> None:
    if output == "json":
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report.document()), indent=2).decode() + "\n")
        return
    from rich.console import Console

    from podwire.diagnose.matrix import show

    show(report, Console(width=None if sys.stdout.isatty() else 160))
