# SPDX-License-Identifier: Apache-2.0
"""`python -m bench` (as root): podwire, the reference plugins and the floor, alternating; traffic; many peers."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import cni, plugins, report, scale, traffic

REALTIME_PRIORITY = 20
PARTS = ("cni", "traffic", "scale")
SLOW_PARTS = ("cluster", "nodes")
"""Only when they are named, because Kubernetes may have to be compiled first."""

CHANGE_SECONDS = 60


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--part", choices=[*PARTS, *SLOW_PARTS, "all"], default="all", help="what to measure (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=100, help="calls one at a time, of each plugin")
    parser.add_argument("--bursts", type=int, default=5, help="bursts of each plugin")
    parser.add_argument("--burst-calls", type=int, default=100, help="calls in a burst")
    parser.add_argument("--pods", type=int, default=1000, help="pods of the full node; 0 leaves it out")
    parser.add_argument("--reference", type=Path, help="folder of reference plugins (default: built from tests/tools)")
    parser.add_argument("--without-podwire", action="store_true", help="the reference plugins and the floor only")
    parser.add_argument("--only", nargs="*", help="names of plugins to run; the others are left out")
    parser.add_argument(
        "--before", type=Path, metavar="CHECKOUT", help="another checkout, built by `make build`, to alternate with"
    )
    parser.add_argument(
        "--traffic-rounds", type=int, default=12, help="measurements of half a second, for each topology and kind"
    )
    parser.add_argument("--peers", type=int, default=5000, help="peers in the settings file")
    parser.add_argument("--changes", type=int, default=15, help="peers that are added one by one, and removed again")
    parser.add_argument(
        "--realtime", action="store_true", help="SCHED_FIFO for all measured programs, before all others"
    )
    return parser.parse_args()


def _reference_folder(named: Path | None) -> Path:
    if named:
        return named
    from tests.support.tools import reference_plugins  # noqa: PLC0415  may build for minutes

    return reference_plugins()


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    return (done.stdout + done.stderr).partition("\n")[0]


def _setting(reference: Path | None, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _first_line("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
        "reference": _first_line(str(reference / "bridge")) if reference else None,
        "load_before": os.getloadavg()[0],
        "arguments": {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)},
    }


def main() -> int:
    """Measure, print, write the JSON; the exit status says only whether everything could be run."""
    arguments = _arguments()
    wanted = PARTS if arguments.part == "all" else (arguments.part,)
    reference = _reference_folder(arguments.reference) if {"cni", "traffic", "cluster"} & {*wanted} else None
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    results: dict[str, report.Part] = {}
    with tempfile.TemporaryDirectory(prefix="podwire-bench-") as name:
        folder = Path(name)
        setting = _setting(reference, arguments)
        bin_dir = None if arguments.without_podwire else plugins.install(folder)
        if "cni" in wanted and reference:
            results["cni"] = cni.run(arguments, reference, bin_dir, folder)
        if "traffic" in wanted and reference and bin_dir:
            results["traffic"] = traffic.run(arguments.traffic_rounds, reference, bin_dir, folder)
        if "cluster" in wanted and reference:
            from bench import cluster  # noqa: PLC0415  the only part that needs the tests' cluster

            results["cluster"] = cluster.run(arguments.burst_calls, min(arguments.bursts, 3), reference, folder)
        if "nodes" in wanted:
            from bench import nodes  # noqa: PLC0415  see above

            results["nodes"] = nodes.run(arguments.peers, CHANGE_SECONDS, folder)
        if "scale" in wanted and bin_dir:
            runs = [scale.measure(path, arguments.peers, arguments.changes, folder) for path in ("direct", "vxlan")]
            results["scale"] = scale.ScaleResults(runs)
    setting["load_after"] = os.getloadavg()[0]
    report.show(setting, results)
    print(report.keep(setting, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
