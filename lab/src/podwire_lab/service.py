# SPDX-License-Identifier: Apache-2.0
"""The services of a node: files that its first process reads, and starts and restarts the programs in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from podwire.record import Record


class Service(Record):
    """A program: its command line, additional environment, and paths that must exist before it starts."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = {}
    after: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(vars(self), indent=1)


def services_folder(folder: Path) -> Path:
    """The folder of a node's service files (`folder` is the node's)."""
    return folder / "services"


def log_file(folder: Path, name: str) -> Path:
    """The file with the output of a service."""
    return folder / "log" / f"{name}.log"


def read_services(folder: Path) -> dict[str, Service]:
    """The node's services by name; raises ValueError for a file that is not a service."""
    found = {}
    for file in sorted(services_folder(folder).glob("*.json")):
        value = json.loads(file.read_text())
        argv, environment, after = value["argv"], value["environment"], value["after"]
        found[file.stem] = Service(file.stem, tuple(argv), environment, tuple(after))
    return found


def write_service(folder: Path, service: Service) -> None:
    """Write a service's file atomically (a temporary file that is renamed)."""
    target = services_folder(folder) / f"{service.name}.json"
    beside = target.with_suffix(".new")
    beside.write_text(service.to_json())
    beside.rename(target)
