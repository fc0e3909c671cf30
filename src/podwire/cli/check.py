"""`podwire check`: does every pod reach its host, the other pods, the other nodes and the outside?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podwire.diagnose.endpoints import Endpoint
    from podwire.diagnose.report import Report

UNUSABLE = 2
FAMILIES = {"v4": (4,), "v6": (6,), "dual": (4, 6)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--topology",
        type=Path,
        metavar="FILE",
        help="who takes part: pods, hosts and the outside of any number of nodes (JSON; default: this node's pods)",
    )
    parser.add_argument(
        "--to",
        action="append",
        default=[],
        metavar="ADDRESS[:PORT]",
        help="an address outside of the cluster that pods must reach, by TCP as well if a port is given; repeatable",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the agent's settings (TOML): its peers are called, too"
    )
    parser.add_argument(
        "--family", choices=tuple(FAMILIES), default="dual", help="which addresses to check (default: %(default)s)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=1.5,
        metavar="SECONDS",
        help="how long to wait for each answer (default: %(default)s)",
    )
    parser.add_argument(
        "--pods",
        type=int,
        default=16,
        metavar="N",
        help="how many other pods each pod calls, spread over all; 0: every one (default: %(default)s)",
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write a JUnit report as well")
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="for people or for scripts (default: table)"
    )


def run(options: argparse.Namespace) -> int:
    """Check; 0: all works, 1: something fails, 2: the arguments make no check."""
    from podwire.diagnose.endpoints import EndpointError
    from podwire.diagnose.run import check
    from podwire.node.old_settings_file import SettingsFileError

    if not 0.1 <= options.timeout <= 60:
        return _unusable(f"--timeout: {options.timeout:g} is not between 0.1 and 60 seconds")
    if options.pods < 0:
        return _unusable(f"--pods: {options.pods} is less than 0: give how many other pods each pod calls")
    try:
        report = check(
            _endpoints(options),
            families=FAMILIES[options.family],
            timeout_seconds=options.timeout,
            most_pods=options.pods,
        )
        if options.junit:
            from podwire.diagnose.junit import junit

            options.junit.write_bytes(junit(report))
    except (EndpointError, SettingsFileError) as wrong:
        return _unusable(str(wrong))
    except OSError as refused:
        if isinstance(refused, PermissionError) or refused.filename is None:
            raise
        return _unusable(f"{refused.filename}: {refused.strerror}: name a file that can be written")
    _print(report, options.output)
    return 0 if report.ok else 1


def _endpoints(options: argparse.Namespace) -> list[Endpoint]:
    """Raises EndpointError, SettingsFileError."""
    from podwire.diagnose.endpoints import EndpointError, parse_target, parse_topology
    from podwire.diagnose.local import read_endpoints
    from podwire.node.old_settings_file import load

    extra = [parse_target(text) for text in options.to]
    if options.topology:
        if options.config:
            raise EndpointError("--config and --topology do not go together: the topology names the other nodes itself")
        try:
            return [*parse_topology(options.topology.read_bytes()), *extra]
        except EndpointError as wrong:
            raise EndpointError(f"{options.topology}: {wrong}") from None
        except OSError as refused:
            raise EndpointError(f"{options.topology}: {refused.strerror}: name a file that can be read") from None
    settings = load(options.config)[0] if options.config else None
    return [*read_endpoints(settings), *extra]


def _unusable(words: str) -> int:
    print(f"podwire: {words}", file=sys.stderr)
    return UNUSABLE


def _print(report: Report, output: str) -> None:
    if output == "json":
        import msgspec

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report.document()), indent=2).decode() + "\n")
        return
    from rich.console import Console

    from podwire.diagnose.matrix import show

    show(report, Console(width=None if sys.stdout.isatty() else 160))
