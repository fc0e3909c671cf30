"""`python -m bench` (as root): podwire, the reference plug-ins and the floor, alternating in one run."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import measures, plugins, report, stage
from bench.measures import Samples
from bench.plugins import Plugin

ONESHOT_ROUNDS = 20
SHARE_ROUNDS = 40


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="calls one at a time, of each plug-in")
    parser.add_argument("--bursts", type=int, default=5, help="bursts of each plug-in")
    parser.add_argument("--burst-calls", type=int, default=100, help="calls in a burst")
    parser.add_argument("--pods", type=int, default=1000, help="pods of the full node; 0 leaves it out")
    parser.add_argument("--reference", type=Path, help="folder of reference plug-ins (default: built from tests/tools)")
    parser.add_argument("--without-podwire", action="store_true", help="the reference plug-ins and the floor only")
    parser.add_argument("--only", nargs="*", help="names of plug-ins to run; the others are left out")
    return parser.parse_args()


def _reference_folder(named: Path | None) -> Path:
    if named:
        return named
    from tests.support.tools import reference_plugins  # noqa: PLC0415  may build for minutes

    return reference_plugins()


def _first_line(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    return (done.stdout + done.stderr).partition("\n")[0]


def _setting(reference: Path, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _first_line("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
        "reference": _first_line(str(reference / "bridge")),
        "load_before": os.getloadavg()[0],
        "arguments": {key: value for key, value in vars(arguments).items() if not isinstance(value, Path)},
    }


def _measure(
    contestants: list[Plugin], arguments: argparse.Namespace, agent_pid: int | None, log: Path
) -> tuple[dict[str, Samples], measures.FullNode | None, measures.Shares | None]:
    samples = {plugin.name: Samples() for plugin in contestants}
    named = {plugin.name: plugin for plugin in contestants}
    oneshot, podwire = named.get(report.ONESHOT), named.get(report.POD)
    quick = [plugin for plugin in contestants if plugin is not oneshot]
    discarded = {name: Samples() for name in samples}
    measures.single_calls(contestants, 3, discarded)  # first calls make bridges, load modules, fill caches
    measures.single_calls(quick, arguments.rounds, samples)
    if oneshot:
        measures.single_calls([oneshot], min(ONESHOT_ROUNDS, arguments.rounds), samples)
    measures.bursts(quick, arguments.bursts, arguments.burst_calls, samples)
    if podwire is None or agent_pid is None:
        return samples, None, None
    shares = measures.shares(podwire, SHARE_ROUNDS, log)
    full = None
    if arguments.pods:
        full = measures.full_node(podwire, agent_pid, arguments.pods, arguments.rounds)
    return samples, full, shares


def main() -> int:
    """Measure, print, keep; the exit status says only whether everything could be run."""
    arguments = _arguments()
    reference = _reference_folder(arguments.reference)
    with tempfile.TemporaryDirectory(prefix="podwire-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        setting = _setting(reference, arguments)
        contestants = [*plugins.floors(folder), *plugins.references(reference, folder / "leases")]
        agent_pid = None
        log = folder / "agent.log"
        bin_dir = None if arguments.without_podwire else plugins.install(folder)
        stage.enter_host()
        if bin_dir:
            contestants = [*plugins.podwires(bin_dir, folder / "agent.sock"), *contestants]
            agent_pid = stack.enter_context(plugins.agent(folder / "agent.sock", log))
        if arguments.only:
            contestants = [plugin for plugin in contestants if plugin.name in arguments.only]
        results = report.Results(setting, *_measure(contestants, arguments, agent_pid, log))
    report.show(results)
    print(report.keep(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
