"""A long-running program of a node, as a file: what its first process starts, watches and starts again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """One program: its command line, what its environment has besides, which paths must be there before."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As the file's text."""
        return json.dumps(asdict(self), indent=1)


def services_folder(folder: Path) -> Path:
    """Where a node keeps its services' files (`folder` is the node's)."""
    return folder / "services"


def log_file(folder: Path, name: str) -> Path:
    """Where the output of a service is."""
    return folder / "log" / f"{name}.log"


def read_services(folder: Path) -> dict[str, Service]:
    """The node's services by name; raises ValueError for a file that is none."""
    found = {}
    for file in sorted(services_folder(folder).glob("*.json")):
        value = json.loads(file.read_text())
        argv, environment, after = value["argv"], value["environment"], value["after"]
        found[file.stem] = Service(file.stem, tuple(argv), environment, tuple(after))
    return found


def write_service(folder: Path, service: Service) -> None:
    """Put a service's file in its place, whole (written beside, then renamed)."""
    target = services_folder(folder) / f"{service.name}.json"
    beside = target.with_suffix(".new")
    beside.write_text(service.to_json())
    beside.rename(target)
