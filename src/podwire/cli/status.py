"""`podwire status`: the pods of this node, read from the kernel."""

from __future__ import annotations

import argparse
import sys
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "-o", "--output", choices=("table", "json"), default="table", help="for people or for scripts (default: table)"
    )


def run(options: argparse.Namespace) -> int:
    """Print; the exit status."""
    import msgspec

    from podwire.kernel.attachments import read_attachments
    from podwire.kernel.netlink import Netlink

    with Netlink() as socket:
        found = read_attachments(socket)
    if getattr(options, "output", "table") == "json":
        rows: list[dict[str, Any]] = [msgspec.to_builtins(one) for one in found]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({"pods": rows}), indent=2).decode() + "\n")
        return 0
    if not found:
        print("no pods are wired by podwire on this node")
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table("IP", "POD", "NETWORK", "CONTAINER", "INTERFACE", "DEVICE", "SINCE", box=None, pad_edge=False)
    for one in found:
        table.add_row(
            " ".join(one.addresses) or "-",
            one.pod or "-",
            one.network,
            one.container_id[:13],
            one.ifname,
            one.device,
            one.since or "-",
        )
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0
