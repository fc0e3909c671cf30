# SPDX-License-Identifier: Apache-2.0
"""`podwire lab`: builds a cluster on this machine, shows, checks and removes it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from podwire.cli.errors import UserError
from podwire_lab import cli_options

if TYPE_CHECKING:
    from podwire.diagnose.report import Report
    from podwire_lab.progress import Steps

NAME = "podwire"
EXPLANATION = """\
Each node is a set of namespaces (network, mount, PID, UTS, IPC, cgroup) with a containerd and a podwire agent of
its own. They share a network that the lab creates, with a router and a host `internet` that has no route to pods.
The lab does not change this machine's own network or files. Needs root.

  podwire lab run                                 build it, check it, remove it
  podwire lab up                                  build it: master, worker-1, worker-2 and four pods
  podwire lab check                               check connectivity between pods, and source addresses
  podwire lab exec bash-worker-1 -- ping worker-2 run a command in a pod or on a host (default: a shell)
  podwire lab up --kubernetes                     build a real Kubernetes cluster with podwire's manifest
  podwire lab kubectl get nodes                   run kubectl in that cluster
  podwire lab down                                remove it, also if it is incomplete

On a node, /run/podwire-lab/log has the logs of its agent and its containerd.
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the lab's verbs and their options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"Build a cluster on this machine for tests and demonstrations.\n\n{EXPLANATION}"
    parser.epilog = "`podwire lab VERB --help` shows a verb's options. Without a verb: status."
    parser.set_defaults(lab=None, do=status, output="table")
    verbs = parser.add_subparsers(metavar="VERB", title="verbs")
    name, any_name = (argparse.ArgumentParser(add_help=False) for _ in range(2))
    name.add_argument("--name", dest="lab", default=NAME, metavar="LAB", help="the lab's name (default: %(default)s)")
    any_name.add_argument("--name", dest="lab", metavar="LAB", help="the lab's name (default: all labs)")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("-o", "--output", choices=("table", "json"), default="table", help="output format")

    def verb(word: str, do: Callable[[argparse.Namespace], int], words: str, *parents: argparse.ArgumentParser) -> None:
        made[word] = verbs.add_parser(word, help=words, description=f"{words[0].upper()}{words[1:]}.", parents=parents)
        made[word].set_defaults(do=do)

    made: dict[str, argparse.ArgumentParser] = {}
    lab_options = cli_options.options()
    verb("up", up, "build a lab and leave it running", name, lab_options)
    verb("run", run_all, "build a lab, check it and remove it", name, lab_options)
    verb("check", check, "check connectivity between pods of a lab", name, output)
    verb("status", status, "show the hosts, pods and addresses of labs", any_name, output)
    verb("exec", execute, "run a command on a host or in a pod", name)
    verb("kubectl", kubectl, "run kubectl as the administrator of a lab's Kubernetes", name)
    verb("down", down, "remove a lab, also if it is incomplete", name)
    made["check"].add_argument("--junit", type=Path, metavar="FILE", help="also write a JUnit report")
    made["exec"].add_argument("where", metavar="HOST|POD", help="master, worker-1, router, internet, bash-worker-1 …")
    made["kubectl"].add_argument(
        "command", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="kubectl's own arguments"
    )
    made["exec"].add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="default: a shell")


def run(options: argparse.Namespace) -> int:
    """Run the lab's verb; returns the exit status."""
    do: Callable[[argparse.Namespace], int] = options.do
    if os.geteuid():
        raise UserError("a lab needs namespaces and control groups: run it as root")
    with _plain_errors():
        return do(options)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Report errors in one line. SIGTERM works like Ctrl-C: an incomplete lab is removed."""
    from podwire.install.errors import InstallationError
    from podwire_lab.command import CommandError
    from podwire_lab.lock import LabBusyError
    from podwire_lab.node import NodeError
    from podwire_lab.programs import NotInstalledError
    from podwire_lab.read import NoLabError
    from podwire_lab.up import LabExistsError

    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except (CommandError, LabBusyError, LabExistsError, NoLabError, NodeError, TimeoutError) as error:
        raise UserError(str(error)) from None
    except (NotInstalledError, InstallationError) as error:
        raise UserError(str(error)) from None


def _end(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _steps(title: str) -> Steps:
    from podwire_lab.progress import Steps

    return Steps(title)


def up(options: argparse.Namespace) -> int:
    """Build a lab, show it and print the next commands."""
    plan, steps = cli_options.plan(options.lab, options), _steps(f"building lab {options.lab}")
    with steps:
        plan.build(steps)
    status(options)
    named = "" if options.lab == NAME else f" --name {options.lab}"
    pod = next(pod.name for node in plan.layout.nodes for pod in node.pods if pod.image == "bash")
    print(f"\nup in {steps.seconds:.1f} s. Next commands:")
    asked = [f"kubectl{named} get pods --all-namespaces"] if options.kubernetes else []
    for words in (f"check{named}", f"exec{named} {pod}", *asked, f"down{named}"):
        print(f"  podwire lab {words}")
    return 0


def run_all(options: argparse.Namespace) -> int:
    """Build, check and remove a lab; returns the status of the check."""
    from podwire_lab.up import down as remove

    plan, steps = cli_options.plan(options.lab, options), _steps(f"building lab {options.lab}")
    with steps:
        plan.build(steps)
    built_seconds = steps.seconds
    try:
        status(options)
        print()
        answer = check(options)
    finally:
        checked_seconds = steps.seconds
        remove(options.lab)
    print(f"\nup in {built_seconds:.1f} s, checked in {checked_seconds - built_seconds:.1f} s, ", end="")
    print(f"removed in {steps.seconds - checked_seconds:.1f} s")
    return answer


def check(options: argparse.Namespace) -> int:
    """Check connectivity; returns 1 if a probe fails or a node, service or pod does not run."""
    from podwire.diagnose.endpoints import EndpointError
    from podwire.diagnose.run import check as check_connectivity
    from podwire_lab import connectivity, read

    lab = read.lab(options.lab)
    missing = connectivity.not_running(lab)
    for line in missing:
        print(f"podwire: {line}", file=sys.stderr)
    try:
        report = check_connectivity(connectivity.endpoints(lab))
    except EndpointError as error:
        raise UserError(f"lab {options.lab} cannot be checked: {error}") from None
    _show_report(report, getattr(options, "output", "table"))
    if getattr(options, "junit", None):
        from podwire.diagnose.junit import junit

        options.junit.write_bytes(junit(report))
    return 0 if report.ok and not missing else 1


def _show_report(report: Report, output: str) -> None:
    if output == "json":
        import json

        print(json.dumps(report.document(), indent=2))
        return
    from rich.console import Console

    from podwire.diagnose.matrix import show

    wide = 30 + 8 * len(report.endpoints)  # output to a file has all columns
    show(report, Console(width=None if sys.stdout.isatty() else max(160, wide)))


def status(options: argparse.Namespace) -> int:
    """Show one lab, or all labs."""
    from podwire_lab import read, show

    wanted = [options.lab] if options.lab else read.labs()
    labs = [read.lab(name) for name in wanted]
    if getattr(options, "output", "table") == "json":
        import json

        print(json.dumps({"labs": [show.as_data(lab) for lab in labs]}, indent=2))
        return 0
    if not labs:
        print("no lab exists: `podwire lab up` builds a lab, `podwire lab --help` explains it")
        return 0
    from rich.console import Console, Group

    Console(width=None if sys.stdout.isatty() else 200).print(Group(*(show.tables(lab) for lab in labs)))
    return 0


def execute(options: argparse.Namespace) -> int:
    """Replace this process by the command."""
    from podwire_lab import enter

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    argv = enter.argv(options.lab, options.where, command, terminal=sys.stdin.isatty())
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is wanted)


def kubectl(options: argparse.Namespace) -> int:
    """Replace this process by kubectl on the cluster's first node."""
    from podwire_lab import enter

    argv = enter.kubectl_argv(options.lab, options.command)
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # noqa: S606 (no shell is wanted)


def down(options: argparse.Namespace) -> int:
    """Remove a lab; raises UserError if it does not exist."""
    from podwire_lab import node
    from podwire_lab.up import down as remove

    if not remove(options.lab):
        raise UserError(f"there is no lab {options.lab}: nothing to remove")
    assert not node.read_hosts(options.lab)
    print(f"lab {options.lab} is removed")
    return 0
